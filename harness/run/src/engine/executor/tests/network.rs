//! Faults of the network: when they begin and end, and what they excuse.

use sanlab_plan::NetworkName;

use super::*;
use crate::backend::fake_fleet::{heal, node, partition};

/// What was done to the network, and when a step of that label was done, in order.
fn course(played: &Played) -> Vec<String> {
    let asked = played.asked.iter();
    asked
        .filter(|(node, script)| node == "network" || script.starts_with("sleep"))
        .map(|(_, what)| what.clone())
        .collect()
}

/// Sleeps as it is told.
fn sleeper(_node: &str, script: &str) -> Option<Act> {
    let seconds = script.strip_prefix("sleep ")?.parse().ok()?;
    Some(Act::Sleep(Duration::from_secs(seconds)))
}

fn whole_after(played: &Played) -> Vec<u64> {
    let events = played.logged.events.iter();
    let seconds = events.filter_map(|event| match &event.kind {
        EventKind::FaultEnded { seconds, .. } => Some(seconds.round()),
        _ => None,
    });
    // Seconds of tests.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    seconds.map(|seconds| seconds as u64).collect()
}

#[tokio::test(start_paused = true)]
async fn a_partition_lasts_until_it_is_healed() {
    let steps = vec![
        step("cut", partition("vix0", "vix1", None)),
        step("meanwhile", run("vix0", "sleep 7")),
        step("heal", heal("cut")),
        step("after", run("vix0", "sleep 1")),
    ];
    let played = play(steps, sleeper).await;
    assert_eq!(played.outcome, Outcome::Passed);
    assert_eq!(
        course(&played),
        [
            "vix0 to vix1 cut",
            "vix1 to vix0 cut",
            "sleep 7",
            "restored",
            "sleep 1"
        ]
    );
    assert_eq!(whole_after(&played), [7]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_ends_by_itself_once() {
    let steps = vec![
        step("cut", partition("vix0", "vix1", Some(3))),
        step("meanwhile", run("vix0", "sleep 7")),
        step("heal", heal("cut")),
    ];
    let played = play(steps, sleeper).await;
    assert_eq!(played.outcome, Outcome::Passed);
    assert_eq!(
        course(&played),
        [
            "vix0 to vix1 cut",
            "vix1 to vix0 cut",
            "sleep 7",
            "restored"
        ]
    );
    assert_eq!(whole_after(&played), [3]);
}

#[tokio::test(start_paused = true)]
async fn one_that_ends_before_its_time_does_not_end_again() {
    let steps = vec![
        step("cut", partition("vix0", "vix1", Some(5))),
        step("heal", heal("cut")),
        step("again", partition("vix0", "vix1", None)),
        step("after", run("vix0", "sleep 9")),
    ];
    let played = play(steps, sleeper).await;
    assert_eq!(played.outcome, Outcome::Passed);
    // The second ends when the layers are taken down.
    assert_eq!(whole_after(&played), [0, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_node_stands_still_and_goes_on() {
    let still = sanlab_plan::Action::Pause(sanlab_plan::Pause {
        on: vec![node("vix1")],
        lasts: Duration::from_secs(4),
    });
    let steps = vec![step("still", still), step("after", run("vix0", "sleep 1"))];
    let played = play(steps, sleeper).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let of_vix1 = played.asked.iter().filter(|(node, _)| node == "vix1");
    let done: Vec<&str> = of_vix1.map(|(_, what)| what.as_str()).collect();
    assert!(
        done.windows(2).any(|two| two == ["pause", "resume"]),
        "{done:?}"
    );
    assert_eq!(whole_after(&played), [4]);
}

#[tokio::test(start_paused = true)]
async fn errors_across_a_cut_are_excused_and_others_count() {
    let says = |device: &str, with_cut: bool| {
        let line = format!("[ 9.0] I/O error, dev {device}, sector 8 op 0x1:(WRITE)");
        let steps = if with_cut {
            vec![
                step("cut", partition("vix0", "vix1", None)),
                step("meanwhile", run("vix0", "sleep 7")),
            ]
        } else {
            vec![step("meanwhile", run("vix0", "sleep 7"))]
        };
        let told = Notice::Console {
            node: "vix0".to_owned(),
            at: Instant::now(),
            line,
            room: Room::default(),
        };
        play_with(steps, |backend| backend, sleeper, happens(vec![(2, told)]))
    };
    assert_eq!(says("nbd1", true).await.outcome, Outcome::Passed);
    assert_eq!(says("nbd1", false).await.failure().0, "failed");
    assert_eq!(says("vdb", true).await.failure().0, "failed");
}

/// A plan on two networks, the second of which joins everybody.
fn on_two_networks(steps: Vec<Step>) -> Plan {
    let mut plan = plan(steps);
    let second = sanlab_plan::Network {
        name: NetworkName::parse("cluster").unwrap(),
        subnet: sanlab_plan::Subnet::of_place(1),
        ..plan.networks[0].clone()
    };
    plan.networks.push(second);
    plan
}

#[tokio::test(start_paused = true)]
async fn faults_are_those_of_the_network_that_they_name() {
    let network = Some(NetworkName::parse("cluster").unwrap());
    let mut cut = partition("vix0", "vix1", Some(3));
    let all = cut.clone();
    if let sanlab_plan::Action::Partition(partition) = &mut cut {
        partition.network.clone_from(&network);
    }
    let link = |network| {
        sanlab_plan::Action::Link(sanlab_plan::Link {
            node: node("vix1"),
            state: sanlab_plan::LinkState::Down,
            network,
            lasts: Some(Duration::from_secs(3)),
            ends: Vec::new(),
        })
    };
    let steps = vec![
        step("cut", cut),
        step("all", all),
        step("pulled", link(network)),
        step("first", run("vix0", "sleep 5")),
        step("both", link(None)),
        step("then", run("vix0", "sleep 5")),
    ];
    let plan = on_two_networks(steps);
    let played = play_plan(plan, |backend| backend, sleeper, |_, _| ()).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let done = played.asked.iter().map(|(_, what)| what.as_str());
    let done: Vec<&str> = done
        .filter(|what| what.contains(" cut") || what.starts_with("link"))
        .collect();
    assert_eq!(
        done,
        [
            "vix0 to vix1 cut on cluster",
            "vix1 to vix0 cut on cluster",
            "vix0 to vix1 cut on main+cluster",
            "vix1 to vix0 cut on main+cluster",
            "link down on cluster",
            "link up on cluster",
            "link down on main",
            "link down on cluster",
            "link up on main",
            "link up on cluster",
        ]
    );
}
