//! `stop_process`: a signal to all processes of a name, side by side; those that it ends are awaited.

use sanlab_plan::{NodeName, Signal, StopProcess, quote};
use sanlab_record::Excuse;
use sanlab_stack::{Expect, Probe, Stage, Task, Work};

use super::Doing;
use crate::Failure;
use crate::engine::faults::excusing::{Broken, Fault};
use crate::engine::{join, tasks};

pub(super) async fn perform(doing: Doing<'_>, stop: &StopProcess) -> Result<(), Failure> {
    let on = stop.on.iter().map(|node| signal(doing, stop, node));
    join::all(on).await?;
    Ok(())
}

/// On one node. Where it fails, nothing is taken for stopped, and what was before still is.
async fn signal(doing: Doing<'_>, stop: &StopProcess, node: &NodeName) -> Result<(), Failure> {
    let Doing { context, scope, .. } = doing;
    let StopProcess {
        process, signal, ..
    } = stop;
    let work = work(doing, stop, node);
    if *signal == Signal::Cont {
        tasks::carry_out(&*context.backend, scope, &work).await?;
        let at = context.now();
        context.faults(|faults| faults.goes_on(node, process, at));
        return Ok(());
    }
    let what = Broken::Process {
        name: process.clone(),
        layer: context.stack.daemon_of(node, process),
        paused: *signal == Signal::Stop,
    };
    let excuse = Excuse::Fault {
        step: doing.step.label.to_string(),
        node: node.to_string(),
    };
    let at = context.now();
    let fault = Fault::new(node.clone(), what, excuse, at);
    let number = context.faults(|faults| faults.begins(fault));
    let done = tasks::carry_out(&*context.backend, scope, &work).await;
    context.faults(|faults| match &done {
        Ok(()) => faults.replaced(number, node, process, at),
        Err(_) => faults.withdraws(number),
    });
    done
}

fn work(doing: Doing<'_>, stop: &StopProcess, node: &NodeName) -> Work {
    let StopProcess {
        process, signal, ..
    } = stop;
    let title = format!("send {signal} to {process}");
    let task = Task {
        node: node.clone(),
        title: title.clone(),
        files: Vec::new(),
        script: signalling(process, *signal),
        deadline: doing.left(),
    };
    let probe = Probe {
        node: node.clone(),
        title: format!("no {process} runs"),
        script: format!("{}echo $pids\n", running(process)),
        expect: Expect(Vec::new()),
        deadline: doing.left(),
        stall: None,
    };
    let ends = matches!(signal, Signal::Kill | Signal::Term);
    Work {
        kind: "stop_process",
        title: title.clone(),
        stages: vec![Stage {
            title: format!("{title} on {node}"),
            tasks: vec![task],
        }],
        probes: ends.then_some(probe).into_iter().collect(),
    }
}

/// Sets `pids` to the processes of that name. Nobody reaps them in a guest: those that have ended still have numbers.
fn running(process: &str) -> String {
    let process = quote(process);
    format!(
        "pids=\n\
         for pid in $(pidof {process}); do\n\
         \x20   read -r stat 2>/dev/null </proc/$pid/stat || continue\n\
         \x20   case ${{stat##*) }} in [ZX]*) ;; *) pids=\"$pids $pid\" ;; esac\n\
         done\n"
    )
}

fn signalling(process: &str, signal: Signal) -> String {
    format!(
        "{}[ -n \"$pids\" ] || {{ echo no {} runs >&2; exit 1; }}\n\
         kill -{signal} $pids\n",
        running(process),
        quote(process)
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_lives_is_signalled() {
        insta::assert_snapshot!(super::signalling("gnbd_serv", super::Signal::Kill));
    }
}
