//! Fleets that go on after they were saved, as themselves and as forks.

use sanlab_fleet::Kind;

use crate::fixture::{
    checkpoint, end, expect_as_saved, fork, is_heard, names, node_says, publish, says, store,
    talking,
};

/// A fleet that was saved in vain goes on, and can be saved again.
pub(crate) async fn resumes() {
    let store = store();
    let claim = store.claim(Kind::Checkpoint, "00bb", |_| ()).unwrap();
    let workspace = claim.workspace().unwrap();
    let fleet = talking(&store, workspace.path()).await;
    let first = fleet.save().await.unwrap();
    fleet.resume().await.unwrap();
    expect_as_saved(&fleet).await;
    let second = fleet.save().await.unwrap();
    assert_eq!(first.nodes.len(), second.nodes.len());
    assert_ne!(first, second);
    fleet.resume().await.unwrap();
    assert!(is_heard(&fleet).await);
    end(fleet).await;
}

/// A fleet takes the place of itself, and costs what both have cost.
pub(crate) async fn in_place() {
    let store = store();
    let claim = store.claim(Kind::Checkpoint, "00cc", |_| ()).unwrap();
    let workspace = claim.workspace().unwrap();
    let fleet = talking(&store, workspace.path()).await;
    let held = publish(&fleet, workspace).await;
    let label: crate::fixture::Label = held.label().unwrap();
    let before = fleet.node("vix1").unwrap();
    let frames = fleet.ports()["vix1"].sent_frames;
    fleet.refork(&label.fleet, held.path(), None).await.unwrap();
    assert_ne!(
        fleet.node("vix1").unwrap().machine().pid(),
        before.machine().pid()
    );
    expect_as_saved(&fleet).await;
    assert!(fleet.ports()["vix1"].sent_frames > frames);
    let now = fleet.node("vix1").unwrap().usage().host_cpu_seconds;
    let teardown = fleet.shutdown().await;
    assert!(teardown.errors.is_empty(), "{:?}", teardown.errors);
    assert!(teardown.usage["vix1"].host_cpu_seconds > now + before.usage().host_cpu_seconds - 0.01);
}

/// A fork is a fleet like any other: members join, and it is saved with them.
pub(crate) async fn again() {
    let store = store();
    let claim = store.claim(Kind::Checkpoint, "00dd", |_| ()).unwrap();
    let workspace = claim.workspace().unwrap();
    let fleet = fork(checkpoint().await, "again", Some(workspace.path())).await;
    expect_as_saved(&fleet).await;
    fleet.join("vc").await.unwrap();
    let vc = fleet.node("vc").unwrap();
    says(
        &vc,
        "echo disk of vc | dd of=/dev/vdb conv=notrunc 2>/dev/null; echo memory of vc >/tmp/mark",
    )
    .await;
    node_says(&fleet, "vix2", "echo changed >/tmp/changed").await;
    let held = publish(&fleet, workspace).await;
    end(fleet).await;

    let grown = fork(&held, "grown", None).await;
    let there: Vec<_> = grown
        .nodes()
        .iter()
        .map(|node| node.name().to_owned())
        .collect();
    assert_eq!(there, names(&["vix0", "vix1", "vix2", "vix3", "vc"]));
    expect_as_saved(&grown).await;
    assert_eq!(
        node_says(&grown, "vix2", "cat /tmp/changed").await,
        "changed"
    );
    node_says(
        &grown,
        "vc",
        "for other in vix0 vix1 vix2 vix3; do ping -c 1 -W 5 $other >/dev/null; done",
    )
    .await;
    end(grown).await;

    // The one that it was forked from is what it was.
    let old = fork(checkpoint().await, "old", None).await;
    expect_as_saved(&old).await;
    assert_eq!(
        node_says(&old, "vix2", "ls /tmp/changed 2>/dev/null || echo nothing").await,
        "nothing"
    );
    assert!(old.node("vc").is_none());
    end(old).await;
}
