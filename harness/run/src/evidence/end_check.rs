//! The last look at a run that has done all its steps: its kernels are heard out, every layer must still be as it must be, and
//! what steps expect must have come.

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::join_all;
use sanlab_plan::NodeName;
use sanlab_stack::{LayerProbe, Probe};

use crate::Failure;
use crate::engine::console_sync::catch_up;
use crate::engine::context::RunContext;
use crate::engine::event_log::Scope;
use crate::engine::tasks;
use crate::failure::Cause;

/// The longest wait for a layer that is not yet as it must be.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands before the number and the exit code of a probe in the answer of a node.
const ANSWER: &str = "sanlab: probe ";

/// Looks at everything on all nodes that are there.
pub(crate) async fn perform(context: &RunContext, scope: &Scope) -> Result<(), Failure> {
    let probes = context.stack.end_probes(&context.present());
    let of = |node: &NodeName| -> Vec<&LayerProbe> {
        let of_it = probes.iter().filter(|it| it.probe.node == *node);
        of_it.collect()
    };
    let there = context.there();
    // One round trip to each node for all that holds at once.
    let answers = catch_up(context, &there, |node| together(&of(node))).await?;
    let mut missing = Vec::new();
    for (node, answer) in there.iter().zip(&answers) {
        if context.down(node).is_some() {
            continue;
        }
        let of_it = of(node);
        let lacks = lacks(&of_it, answer);
        for (it, lack) in of_it.into_iter().zip(lacks) {
            let Some(lack) = lack else { continue };
            // What a fault takes away need not be waited for.
            let text = format!("{} on {node}: {lack}", it.probe.title);
            if !context.layer_is_excused((it.kind, it.place), node, &text) {
                missing.push(it);
            }
        }
    }
    for LayerProbe { kind, probe, .. } in &missing {
        let text = format!("layer {kind}: waits until {}", probe.title);
        scope.progress(Some(&probe.node), text);
    }
    let waits = join_all(missing.into_iter().map(|it| async move {
        let deadline = it.probe.deadline.min(PATIENCE);
        let probe = Probe {
            deadline,
            ..it.probe.clone()
        };
        let waited = tasks::await_probe(&*context.backend, scope, &probe).await;
        (it, waited)
    }));
    for (LayerProbe { kind, place, probe }, waited) in waits.await {
        match waited {
            Ok(()) => {}
            Err(failure) if failure.is_not_met() => {
                context.layer_lacks((*kind, *place), &probe.node, &failure.to_string());
            }
            Err(failure) => return Err(failure),
        }
    }
    let counting = context.counting();
    if !counting.is_empty() {
        return Err(Cause::Evidence(counting).into());
    }
    let unmet = context.unmet();
    if !unmet.is_empty() {
        return Err(Cause::ExpectationNotMet(unmet).into());
    }
    Ok(())
}

/// One script that does what all of them do, each in a shell of its own.
fn together(probes: &[&LayerProbe]) -> String {
    let mut script = "set +e\n".to_owned();
    for (number, LayerProbe { probe, .. }) in probes.iter().enumerate() {
        // A String takes everything.
        let _ = write!(
            script,
            "(\nset -e\n{}\n) </dev/null 2>/dev/null\necho \"\n{ANSWER}{number} $?\"\n",
            probe.script
        );
    }
    script + "exit 0\n"
}

/// How each of them differs from what it must be, by what the script has printed; nothing: it holds.
fn lacks(probes: &[&LayerProbe], printed: &str) -> Vec<Option<String>> {
    let mut rest = printed;
    let lacks = probes.iter().enumerate().map(|(number, it)| {
        let end = format!("\n{ANSWER}{number} ");
        let Some((said, after)) = rest.split_once(&end) else {
            return Some("no look ended".to_owned());
        };
        let (code, after) = after.split_once('\n').unwrap_or((after, ""));
        rest = after;
        match it.probe.expect.judge(said) {
            Ok(()) if code == "0" => None,
            Ok(()) => Some(format!("the look exited with {code}")),
            Err(difference) => Some(difference),
        }
    });
    lacks.collect()
}

#[cfg(test)]
mod tests {
    use sanlab_plan::LayerKind;
    use sanlab_stack::Expect;

    use super::*;

    fn probe(script: &str, expected: &str) -> LayerProbe {
        LayerProbe {
            kind: LayerKind::Nbd,
            place: 0,
            probe: Probe {
                node: NodeName::parse("vix0").unwrap(),
                title: "it holds".to_owned(),
                script: script.to_owned(),
                expect: Expect(expected.lines().map(str::to_owned).collect()),
                deadline: Duration::from_secs(5),
                stall: None,
            },
        }
    }

    /// The scripts run in a shell of the host, as they do in that of a guest.
    #[test]
    fn probes_are_looked_at_together_and_judged_one_by_one() {
        let probes = [
            probe("echo a\necho b", "a\nb"),
            probe("echo a", "b"),
            probe("false\necho a", "a"),
            probe("printf c", "c"),
            probe("exit 0", ""),
            probe("echo x >&2", ""),
        ];
        let probes: Vec<&LayerProbe> = probes.iter().collect();
        let mut shell = std::process::Command::new("sh");
        let printed = shell
            .args(["-e", "-c", &together(&probes)])
            .output()
            .unwrap();
        assert!(printed.status.success());
        let printed = String::from_utf8(printed.stdout).unwrap();
        let lacks_of = |printed: &str| -> Vec<String> {
            let lacks = lacks(&probes, printed).into_iter();
            lacks
                .map(|lack| lack.unwrap_or("nothing".to_owned()))
                .collect()
        };
        assert_eq!(
            lacks_of(&printed),
            [
                "nothing",
                "expected `b`, saw `a`",
                "expected `a`, saw nothing more",
                "nothing",
                "nothing",
                "nothing"
            ]
        );
        assert_eq!(lacks_of("garbage"), ["no look ended"; 6]);
    }
}
