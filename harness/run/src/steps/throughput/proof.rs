//! That what was written is there, for all who have the same file or device.

use sanlab_plan::{Action, NodeName, Target, Throughput, Tool};

use super::{Worker, dd, done, fio};
use crate::Failure;
use crate::engine::join;
use crate::engine::state::{Acknowledged, Content};
use crate::failure::Cause;
use crate::steps::Doing;

/// Reads every worker's stretch back on every node that has it; `last` is the round that wrote last. Files that a later
/// `check` reads on all nodes are left to that: it looks for the same bytes.
pub(super) async fn prove(
    doing: Doing<'_>,
    throughput: &Throughput,
    workers: &[Worker],
    last: usize,
) -> Result<(), Failure> {
    doing.scope.progress(None, "read back");
    let sums = workers.iter().map(|worker| async move {
        let script = match throughput.tool {
            // What dd wrote is still there in memory, or can be made again.
            Tool::Dd => dd::sum(throughput, worker, last),
            // fio knows what every block must be, and looks itself.
            Tool::Fio => fio::sum(throughput, worker, last),
        };
        let said = done(doing, worker, "hash what was written", &script).await?;
        hash(&said).ok_or_else(|| {
            Failure::not_understood(format!("hash what {} wrote: it said {said}", worker.node))
        })
    });
    let known = join::all(sums).await?;
    acknowledge(doing, throughput, workers, &known);
    if checked_later(doing, throughput) {
        return Ok(());
    }
    let there = doing.context.there();
    let readers = there.iter().map(|reader| {
        let known = &known;
        async move {
            let mut different = Vec::new();
            for (worker, known) in workers.iter().zip(known) {
                if has(doing, throughput, reader, worker) {
                    let seen = read(doing, throughput, reader, worker).await?;
                    different.extend(difference(reader, worker, known, &seen));
                }
            }
            Ok::<_, Failure>(different)
        }
    });
    let found = join::all(readers).await?.concat();
    if found.is_empty() {
        return Ok(());
    }
    let what = "what was written is not there".to_owned();
    Err(Cause::Differences { what, found }.into())
}

/// Whether a later step compares all files of the volume with what was acknowledged, on every node that has it.
fn checked_later(doing: Doing<'_>, throughput: &Throughput) -> bool {
    let (Target::File(_), Ok(volume)) = (&throughput.target, doing.context.volume()) else {
        return false;
    };
    let mounted = doing.context.mounted();
    let steps = doing.context.plan.steps.iter();
    let later = steps.skip_while(|step| step.label != doing.step.label);
    let mut checks = later.filter_map(|step| match &step.action {
        Action::Check(check) => Some(check),
        _ => None,
    });
    checks.any(|check| {
        check.same_tree.as_ref() == Some(&volume.at)
            && mounted.iter().all(|node| check.on.contains(node))
    })
}

/// Files whose bytes are known: every `check` from now on looks for them.
fn acknowledge(doing: Doing<'_>, throughput: &Throughput, workers: &[Worker], known: &[String]) {
    if throughput.target == Target::Device {
        return;
    }
    for (Worker { node, path, .. }, known) in workers.iter().zip(known) {
        let write = Acknowledged {
            by: format!("acknowledged by {} on {node}", doing.scope.name()),
            bytes: throughput.size.bytes(),
            content: Content::Md5(known.clone()),
        };
        doing.context.acknowledge(path.clone(), write);
    }
}

/// Whether what the worker wrote can be read on that node.
fn has(doing: Doing<'_>, throughput: &Throughput, reader: &NodeName, worker: &Worker) -> bool {
    match throughput.target {
        Target::File(_) => doing.context.mounted().contains(reader),
        Target::Device => {
            *reader == worker.node || doing.context.stack.share_device(reader, &worker.node)
        }
    }
}

/// Reads a stretch: its MD5.
async fn read(
    doing: Doing<'_>,
    throughput: &Throughput,
    reader: &NodeName,
    worker: &Worker,
) -> Result<String, Failure> {
    let what = || format!("read {} on {reader}", worker.path);
    let ended = doing.exec(reader, &dd::look(throughput, worker)).await?;
    let said = ended.success().map_err(|failure| failure.during(what()))?;
    hash(&said).ok_or_else(|| Failure::not_understood(format!("{}: it said {said}", what())))
}

/// The MD5 in hex that `md5sum` printed.
fn hash(said: &str) -> Option<String> {
    let word = said.split_whitespace().next()?;
    let is_hash = word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| word.to_owned())
}

fn difference(reader: &NodeName, worker: &Worker, expected: &str, seen: &str) -> Option<String> {
    let Worker {
        node, path, offset, ..
    } = worker;
    (seen != expected).then(|| {
        format!(
            "{reader}, {path} from byte {offset} on, the work of {node}: MD5 {seen}, not {expected}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_md5sum_prints_is_read() {
        let md5 = "58f06dd588d8ffb3beb46ada6309436b";
        assert_eq!(hash(&format!("{md5}  -\n")).as_deref(), Some(md5));
        for odd in [
            "",
            "dd: no such file",
            "12\n",
            "58f06dd588d8ffb3beb46ada6309436  -\n",
        ] {
            assert_eq!(hash(odd), None, "{odd}");
        }
    }
}
