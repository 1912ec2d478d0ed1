//! `throughput`: the same work several times over, each repetition from a common start on all nodes.
//!
//! A repetition lasts from the moment at which the first reports that it begins to that at which the last reports that it is
//! done: at both all nodes' counters are read. Everything else - making what is written, laying files out, waiting at
//! the gate, starting the tool where it can tell - is done outside of it.
//!
//! A file is written anew by the first round, and over by those that follow: nothing is truncated between. What goes
//! through the page cache finds it clean and empty on its own node in each round; the servers of the disks keep theirs,
//! as they do under direct requests.

mod dd;
mod fio;
mod fio_report;
mod proof;

use futures_util::future::try_join;
use sanlab_fleet::Status;
use sanlab_plan::guest::FIO;
use sanlab_plan::{NodeName, Target, Throughput, Tool};
use sanlab_record::{Latency, Sample, Work};

use super::Doing;
use super::dd::clocks;
use super::gate::{self, Times};
use crate::backend::Ended;
use crate::engine::join;
use crate::failure::Cause;
use crate::measure::meter::{Meter, Round};
use crate::{Extent, Failure};

/// One node's share.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Worker {
    node: NodeName,
    /// A file or a device, absolute.
    path: String,
    /// Where its stretch begins, bytes.
    offset: u64,
    /// In the guest: what the tool needs.
    folder: String,
}

/// What a tool says of one round on one node.
#[derive(Debug, Clone, PartialEq)]
struct Report {
    bytes: u64,
    /// Time that it measured.
    seconds: f64,
    latency: Option<Latency>,
}

pub(super) async fn perform(doing: Doing<'_>, throughput: &Throughput) -> Result<(), Failure> {
    let workers = workers(doing, throughput)?;
    if let Target::File(_) = throughput.target {
        for worker in &workers {
            doing.context.forget(&worker.path);
        }
    }
    let rounds: Vec<Round> = rounds(throughput).collect();
    doing.scope.progress(None, "make what is needed");
    let prepared = workers
        .iter()
        .map(|worker| prepare(doing, throughput, worker, rounds.len()));
    join::all(prepared).await?;
    for (number, round) in rounds.iter().enumerate() {
        repetition(doing, throughput, &workers, number, *round).await?;
    }
    if doing.context.extent() != Extent::Measures {
        let last = rounds.len().saturating_sub(1);
        proof::prove(doing, throughput, &workers, last).await?;
    }
    let tidy = workers.iter().map(|worker| async move {
        let script = format!("rm -rf {}\n", sanlab_plan::quote(&worker.folder));
        done(doing, worker, "tidy up", &script).await
    });
    join::all(tidy).await?;
    Ok(())
}

fn workers(doing: Doing<'_>, throughput: &Throughput) -> Result<Vec<Worker>, Failure> {
    let places = throughput.on.iter().enumerate();
    let worker = |(place, node): (usize, &NodeName)| {
        let (path, offset) = match &throughput.target {
            Target::File(of) => {
                let at = &doing.context.volume()?.at;
                (format!("{at}/{}", of.replace("{node}", node.as_str())), 0)
            }
            Target::Device => {
                let device = doing.context.stack.top_device(node);
                let device = device.ok_or_else(|| {
                    Failure::internal(format!("the layers give {node} no device to work on"))
                })?;
                (device.to_owned(), place as u64 * throughput.size.bytes())
            }
        };
        Ok(Worker {
            node: node.clone(),
            path,
            offset,
            folder: doing.folder(),
        })
    };
    places.map(worker).collect()
}

/// Warm-ups, then what counts.
fn rounds(throughput: &Throughput) -> impl Iterator<Item = Round> {
    let those = |count: u32, warm_up: bool| {
        (1..=count).map(move |repetition| Round {
            repetition,
            warm_up,
        })
    };
    those(throughput.warm_up, true).chain(those(throughput.repetitions, false))
}

/// Makes a worker's folder, and what its tool needs.
async fn prepare(
    doing: Doing<'_>,
    throughput: &Throughput,
    worker: &Worker,
    rounds: usize,
) -> Result<(), Failure> {
    let Worker { node, path, .. } = worker;
    let script = match throughput.tool {
        Tool::Dd => dd::preparation(throughput, worker, rounds),
        Tool::Fio => fio::preparation(throughput, worker),
    };
    let ended = doing.exec(node, &script).await?;
    if throughput.tool == Tool::Fio && ended.status == Status::Exited(fio::MISSING) {
        let plan = &doing.context.plan;
        let image = plan
            .node(node)
            .map_or(&plan.image, |node| plan.image_of(node));
        let text = format!(
            "{node} has no {FIO}: the image {image} needs the package fio in its manifest and lock"
        );
        return Err(Failure::from(Cause::ProgramMissing(text)).on(node));
    }
    let said = ended.success();
    said.map_err(|failure| failure.during(format!("prepare for {path} on {node}")))?;
    Ok(())
}

/// Runs a script that must succeed.
async fn done(
    doing: Doing<'_>,
    worker: &Worker,
    what: &str,
    script: &str,
) -> Result<String, Failure> {
    let Worker { node, path, .. } = worker;
    let ended = doing.exec(node, script).await;
    let said = ended.and_then(Ended::success);
    said.map_err(|failure| failure.during(format!("{what} for {path} on {node}")))
}

/// One round on all nodes; `number` counts warm-ups too, from 0.
async fn repetition(
    doing: Doing<'_>,
    throughput: &Throughput,
    workers: &[Worker],
    number: usize,
    round: Round,
) -> Result<(), Failure> {
    let id = format!("{}/{number}", doing.step.label);
    let gates = workers.iter().map(|worker| {
        let script = gate(throughput, worker, number, &id);
        async move { done(doing, worker, "get ready", &script).await }
    });
    join::all(gates).await?;
    let mut listeners = Vec::new();
    for worker in workers {
        let lines = doing.context.backend.guest_events(&worker.node)?;
        listeners.push(Times::new(id.clone(), lines));
    }
    let meter = &Meter::new(&doing.context.backend, workers.len());
    let running = workers.iter().zip(listeners);
    let running = running.map(|(worker, times)| run(doing, meter, worker, times));
    let times = join::all(running).await?;
    let mut bytes = 0;
    for (worker, times) in workers.iter().zip(times) {
        bytes += sample(doing, throughput, worker, round, &times).await?;
    }
    let (event_log, step) = (&doing.context.event_log, doing.step.label.as_str());
    let measured = meter.measured(event_log, step, round, work(throughput), bytes);
    let measured = measured
        .ok_or_else(|| Failure::not_understood(format!("measure {id}: no worker ended")))?;
    let (kind, of) = if round.warm_up {
        ("warm-up", throughput.warm_up)
    } else {
        ("repetition", throughput.repetitions)
    };
    let rate = bytes as f64 / measured.seconds.max(1e-6) / f64::from(1 << 20);
    doing.scope.progress(
        None,
        format!(
            "{kind} {} of {of}: {rate:.1} MiB/s together",
            round.repetition
        ),
    );
    doing.scope.measured(measured);
    Ok(())
}

/// Leaves the tool behind, waiting.
fn gate(throughput: &Throughput, worker: &Worker, number: usize, id: &str) -> String {
    // A port that somebody else has open would keep the words back, and the round would be waited for in vain.
    let mut before = format!(": >{}\n", sanlab_fleet::EVENT_PORT_PATH);
    if !throughput.direct {
        before.push_str("sync\necho 1 >/proc/sys/vm/drop_caches\n");
    }
    let folder = gate_of(worker);
    match throughput.tool {
        Tool::Dd => {
            let command = dd::command(throughput, worker, number);
            gate::timed(&folder, id, &before, &command)
        }
        Tool::Fio => {
            before.push_str(&fio::words(id));
            let command = fio::command(throughput, worker, number);
            gate::waiting(&folder, &before, &command)
        }
    }
}

fn gate_of(worker: &Worker) -> String {
    format!("{}/gate", worker.folder)
}

/// Lets one go and listens until it is done.
async fn run(
    doing: Doing<'_>,
    meter: &Meter,
    worker: &Worker,
    mut times: Times,
) -> Result<Times, Failure> {
    let Worker { node, path, .. } = worker;
    let script = gate::let_go(&gate_of(worker));
    let released = async {
        let ended = doing.exec(node, &script).await?;
        ended.success()
    };
    let listening = async {
        let heard = tokio::time::timeout(doing.left(), times.listen(meter)).await;
        match heard {
            Ok(true) => Ok(()),
            Ok(false) => Err(match doing.context.down(node) {
                Some(down) => Cause::NodeDown {
                    node: node.clone(),
                    why: Some(down.reason),
                    failure: None,
                }
                .into(),
                None => Failure::not_understood("its event port closed"),
            }),
            Err(_) => Err(Failure::from(Cause::StepTimedOut {
                after: doing.step.deadline,
                so_far: Some(times.progress().to_owned()),
            })
            .on(node)),
        }
    };
    try_join(released, listening)
        .await
        .map_err(|failure| failure.during(format!("work on {path} on {node}")))?;
    Ok(times)
}

/// Hears what the tool reports, and gives the bytes that it moved.
async fn sample(
    doing: Doing<'_>,
    throughput: &Throughput,
    worker: &Worker,
    round: Round,
    times: &Times,
) -> Result<u64, Failure> {
    let Worker { node, path, .. } = worker;
    let what = || format!("{} {path} on {node}", throughput.tool.as_str());
    let script = match throughput.tool {
        Tool::Dd => gate::result(&gate_of(worker)),
        Tool::Fio => fio::result(&gate_of(worker)),
    };
    let ended = doing.exec(node, &script).await?;
    let (stdout, stderr) = (ended.stdout.clone(), ended.stderr.clone());
    ended.success().map_err(|failure| failure.during(what()))?;
    let report = match throughput.tool {
        Tool::Dd => dd::report(throughput, &stderr),
        Tool::Fio => fio_report::parse(throughput, &stdout),
    };
    let report = report.map_err(|odd| Failure::unexpected(odd).on(node).during(what()))?;
    let (Some(begun), Some(over)) = (times.begun, times.over) else {
        let text = format!("{}: {}", what(), times.progress());
        return Err(Failure::not_understood(text));
    };
    let host_seconds = over.saturating_duration_since(begun).as_secs_f64();
    clocks(doing, node, report.seconds, host_seconds);
    let (step, arch) = (doing.step.label.as_str(), doing.context.arch(node));
    let (bytes, seconds) = (report.bytes, report.seconds);
    let sample = Sample {
        repetition: round.repetition,
        warm_up: round.warm_up,
        at: Some(doing.context.event_log.seconds_at(begun)),
        latency: report.latency,
        ..Sample::new(step, node.as_str(), arch, bytes, seconds, host_seconds)
    };
    doing.scope.sampled(node, sample);
    Ok(bytes)
}

/// The step as a measurement.
fn work(throughput: &Throughput) -> Work {
    Work {
        tool: throughput.tool.as_str().to_owned(),
        rw: throughput.pattern.as_str().to_owned(),
        on: throughput.on.iter().map(ToString::to_string).collect(),
        block_bytes: throughput.bs.bytes(),
        bytes_each: match throughput.runtime {
            Some(_) => 0,
            None => throughput.size.bytes(),
        },
        runtime_seconds: throughput.runtime.map(|runtime| runtime.as_secs_f64()),
        queue_depth: throughput.queue_depth,
        direct: throughput.direct,
        sync: throughput.sync.as_str().to_owned(),
    }
}
