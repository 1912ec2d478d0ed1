//! `stop_process`: a signal to all processes of a name, side by side; those that it ends are awaited.

use sanlab_plan::{NodeName, Signal, StopProcess, quote};
use sanlab_record::Excuse;
use sanlab_stack::{Expect, Probe, Stage, Task};

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
    let context = doing.context;
    let StopProcess {
        process, signal, ..
    } = stop;
    if *signal == Signal::Cont {
        send(doing, stop, node).await?;
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
    let done = send(doing, stop, node).await;
    context.faults(|faults| match &done {
        Ok(()) => faults.replaced(number, node, process, at),
        Err(_) => faults.withdraws(number),
    });
    done
}

/// Sends the signal; the end of those that it ends is awaited.
async fn send(doing: Doing<'_>, stop: &StopProcess, node: &NodeName) -> Result<(), Failure> {
    let Doing { context, scope, .. } = doing;
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
    let stage = Stage {
        title: format!("{title} on {node}"),
        tasks: vec![task],
    };
    tasks::carry_out_stage(&*context.backend, scope, &stage).await?;
    if matches!(signal, Signal::Kill | Signal::Term) {
        tasks::await_probe(&*context.backend, scope, &probe).await?;
    }
    Ok(())
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
