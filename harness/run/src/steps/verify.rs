//! `verify`: every block that was acknowledged is there, as the nodes see the file and as each copy of the disks below
//! has it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sanlab_fleet::Status;
use sanlab_plan::guest::{FILEFRAG, WITNESS};
use sanlab_plan::{BlockMap, NodeName, Verify, quote};
use sanlab_record::{Found, LostBlocks};

use super::Doing;
use crate::Failure;
use crate::engine::join;
use crate::evidence::ack_log::{AckLog, Bad};
use crate::evidence::extents::{self, Piece};
use crate::failure::Cause;

/// Pieces in one list: a script must stay below the 128 KiB that Linux takes as one argument.
const PIECES: usize = 1500;

/// The number of an acknowledgement log, and what of its blocks lies on a disk.
type Share = (usize, Vec<Piece>);

pub(super) async fn perform(doing: Doing<'_>, verify: &Verify) -> Result<(), Failure> {
    let context = doing.context;
    let ack_logs: Vec<AckLog> = context
        .ack_logs()
        .into_values()
        .filter(|ack_log| ack_log.blocks() > 0)
        .collect();
    if ack_logs.is_empty() {
        return Err(Failure::from(Cause::NothingAcknowledged).during("verify"));
    }
    let readers = verify.on.iter().map(|node| read(doing, node, &ack_logs));
    let mut losses = join::all(readers).await?.concat();
    if verify.replicas {
        match context.stack.block_map() {
            Some(replicas) => losses.extend(on_replicas(doing, verify, replicas, &ack_logs).await?),
            None => doing.scope.progress(
                None,
                "replicas are not read: the lab does not know where these layers put blocks",
            ),
        }
    }
    if losses.is_empty() {
        return Ok(());
    }
    Err(Cause::BlocksLost(losses).into())
}

/// Reads all files on one node, one after another.
async fn read(
    doing: Doing<'_>,
    node: &NodeName,
    ack_logs: &[AckLog],
) -> Result<Vec<LostBlocks>, Failure> {
    let mut losses = Vec::new();
    for ack_log in ack_logs {
        let script = format!(
            "exec {WITNESS} check --file {} {} --upto {}\n",
            quote(&ack_log.path),
            ack_log.arguments(),
            ack_log.blocks()
        );
        let found = check(doing, node, &script, ack_log.blocks()).await;
        let found = found.map_err(|failure| {
            failure.during(format!("read the blocks of {} on {node}", ack_log.path))
        })?;
        losses.extend(told(node, None, found, ack_log));
    }
    let blocks: u64 = ack_logs.iter().map(AckLog::blocks).sum();
    let files = ack_logs.len();
    doing.scope.progress(
        Some(node),
        format!("read {blocks} acknowledged blocks of {files} files"),
    );
    Ok(losses)
}

/// Looks for all blocks on the disks that hold them, each node for itself.
async fn on_replicas(
    doing: Doing<'_>,
    verify: &Verify,
    replicas: &BlockMap,
    ack_logs: &[AckLog],
) -> Result<Vec<LostBlocks>, Failure> {
    let Some(reader) = verify.on.first() else {
        return Ok(Vec::new());
    };
    // By node and device.
    let mut places: BTreeMap<(NodeName, String), Vec<Share>> = BTreeMap::new();
    for (which, ack_log) in ack_logs.iter().enumerate() {
        let script = format!("exec {FILEFRAG} -v {}\n", quote(&ack_log.path));
        let ended = doing.exec(reader, &script).await?;
        let what = || format!("find the extents of {} on {reader}", ack_log.path);
        let said = ended.success().map_err(|failure| failure.during(what()))?;
        let extents = extents::parse(&said);
        let extents = extents.map_err(|odd| Failure::not_understood(odd).during(what()))?;
        let pieces = extents::pieces(
            &extents,
            ack_log.block,
            ack_log.blocks(),
            |offset, length| replicas.locate(offset, length),
        );
        for (place, pieces) in pieces.map_err(|odd| Failure::unexpected(odd).during(what()))? {
            places.entry(place).or_default().push((which, pieces));
        }
    }
    let there = doing.context.there();
    let (here, gone): (Vec<_>, Vec<_>) = places
        .into_iter()
        .partition(|((node, _), _)| there.contains(node));
    for ((node, device), _) in gone {
        doing.scope.progress(
            Some(&node),
            format!("{device} was not looked at: the node is not there"),
        );
    }
    let looks = here
        .iter()
        .map(|(place, pieces)| replica(doing, place, pieces, ack_logs));
    Ok(join::all(looks).await?.concat())
}

/// Looks at one device.
async fn replica(
    doing: Doing<'_>,
    (node, device): &(NodeName, String),
    pieces: &[Share],
    ack_logs: &[AckLog],
) -> Result<Vec<LostBlocks>, Failure> {
    let device = doing.context.stack.topology().path(node, device);
    let mut losses = Vec::new();
    let mut looked = 0;
    for (which, pieces) in pieces {
        let ack_log = &ack_logs[*which];
        let mut bad = Vec::new();
        for pieces in pieces.chunks(PIECES) {
            let script = listed(ack_log, device, pieces);
            let found = check(doing, node, &script, pieces.len() as u64).await;
            let found =
                found.map_err(|failure| failure.during(format!("read {device} on {node}")))?;
            bad.extend(found);
            looked += pieces.len();
        }
        losses.extend(told(node, Some(device), bad, ack_log));
    }
    doing.scope.progress(
        Some(node),
        format!("looked at {looked} pieces of blocks on {device}"),
    );
    Ok(losses)
}

/// Writes a list of pieces and has them looked at.
fn listed(ack_log: &AckLog, device: &str, pieces: &[Piece]) -> String {
    let mut list = String::new();
    for Piece {
        number,
        offset,
        skip,
        length,
    } in pieces
    {
        // A String takes everything.
        let _ = writeln!(list, "{number} {offset} {skip} {length}");
    }
    let (list, device) = (quote(&list), quote(device));
    format!(
        "mkdir -p /run/sanlab\n\
         printf %s {list} >/run/sanlab/pieces\n\
         exec {WITNESS} check --file {device} {} --blocks /run/sanlab/pieces\n",
        ack_log.arguments()
    )
}

/// One loss for each way in which blocks of a file are not as they must be.
fn told(node: &NodeName, device: Option<&str>, bad: Vec<Bad>, ack_log: &AckLog) -> Vec<LostBlocks> {
    let mut ways: BTreeMap<Found, Vec<Bad>> = BTreeMap::new();
    for bad in bad {
        ways.entry(bad.found()).or_default().push(bad);
    }
    let losses = ways.into_values().map(|mut bad| {
        bad.sort_by_key(|bad| bad.number);
        ack_log.lost(node.as_str(), device, &bad)
    });
    losses.collect()
}

/// Runs a checker that must look at so many blocks or pieces.
async fn check(
    doing: Doing<'_>,
    node: &NodeName,
    script: &str,
    count: u64,
) -> Result<Vec<Bad>, Failure> {
    let ended = doing.exec(node, script).await?;
    let (bad, checked) = understand(&ended.stdout).map_err(Failure::not_understood)?;
    match ended.status {
        Status::Exited(0) if bad.is_empty() => {}
        Status::Exited(1) if !bad.is_empty() => {}
        _ => return ended.success().map(|_| bad),
    }
    if checked != Some(count) {
        let said = ended.said();
        let text = format!("it must look at {count} blocks, but said: {said}");
        return Err(Failure::not_understood(text).on(node));
    }
    Ok(bad)
}

/// `bad NUMBER OFFSET REASON` and `checked COUNT`.
fn understand(said: &str) -> Result<(Vec<Bad>, Option<u64>), String> {
    let (mut bad, mut checked) = (Vec::new(), None);
    for line in said.lines() {
        let mut words = line.splitn(4, ' ');
        let mut next = || words.next();
        let parsed = match next() {
            Some("bad") => (|| {
                bad.push(Bad {
                    number: next()?.parse().ok()?,
                    offset: next()?.parse().ok()?,
                    reason: next()?.to_owned(),
                });
                Some(())
            })(),
            Some("checked") => (|| {
                checked = Some(next()?.parse().ok()?);
                Some(())
            })(),
            _ => None,
        };
        parsed.ok_or_else(|| format!("understand the checker's line `{line}`"))?;
    }
    Ok((bad, checked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkers_words_are_understood() {
        let said = "bad 17 69632 the checksum differs\nchecked 400\n";
        let bad = Bad {
            number: 17,
            offset: 69_632,
            reason: "the checksum differs".to_owned(),
        };
        assert_eq!(understand(said), Ok((vec![bad], Some(400))));
        assert_eq!(understand(""), Ok((Vec::new(), None)));
        for odd in ["bad 17", "bad x 0 y", "checked", "checked all", "good 1"] {
            assert!(understand(odd).is_err(), "{odd}");
        }
    }
}
