//! `check`: every node sees the same files with the same bytes, those that were acknowledged; and no kernel has
//! anything to complain of.

use std::collections::{BTreeMap, BTreeSet};

use md5::{Digest as _, Md5};
use sanlab_plan::{Check, GuestPath, NodeName};
use sanlab_record::Finding;

use super::Doing;
use crate::Failure;
use crate::engine::state::{Acknowledged, Content};
use crate::engine::{console_sync, join};
use crate::evidence::tree::{self, Entry, Tree};
use crate::failure::Cause;

pub(super) async fn perform(doing: Doing<'_>, check: &Check) -> Result<(), Failure> {
    if let Some(root) = &check.same_tree {
        same_tree(doing, &check.on, root).await?;
    }
    if check.kernel_log {
        kernel_logs(doing, &check.on).await?;
    }
    Ok(())
}

async fn same_tree(doing: Doing<'_>, on: &[NodeName], root: &GuestPath) -> Result<(), Failure> {
    let script = &tree::listing(root.as_str());
    let trees = join::all(on.iter().map(|node| async move {
        let what = format!("read {root}");
        let listed = doing.exec(node, script).await?.success();
        let listed = listed.map_err(|failure| failure.during(format!("{what} on {node}")))?;
        let tree = tree::parse(&listed)
            .map_err(|odd| Failure::not_understood(format!("{what} on {node}: {odd}")))?;
        let bytes: u64 = tree.values().map(|entry| entry.size).sum();
        doing.scope.progress(
            Some(node),
            format!("read {} entries, {} MiB", tree.len(), bytes >> 20),
        );
        Ok::<_, Failure>((node.as_str(), tree))
    }))
    .await?;
    let acknowledged = expected(doing.context.acknowledged(), root).await?;
    let mut lines = Vec::new();
    for (node, seen) in &trees {
        for (by, tree) in &acknowledged {
            lines.extend(tree::differences(node, seen, tree, by));
        }
    }
    if let Some(((first, reference), others)) = trees.split_first() {
        for (node, seen) in others {
            lines.extend(tree::differences(node, seen, reference, first));
            lines.extend(tree::surplus(node, seen, reference, first));
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    Err(Cause::Differences {
        what: format!("{root} is not what it must be"),
        found: lines,
    }
    .into())
}

/// The acknowledged writes under `root`, as trees by who wrote them.
async fn expected(
    acknowledged: BTreeMap<String, Acknowledged>,
    root: &GuestPath,
) -> Result<BTreeMap<String, Tree>, Failure> {
    let zeros = |write: &Acknowledged| (write.content == Content::Zeros).then_some(write.bytes);
    let sizes: BTreeSet<u64> = acknowledged.values().filter_map(zeros).collect();
    let hashing = tokio::task::spawn_blocking(move || {
        sizes
            .into_iter()
            .map(|bytes| (bytes, md5_of_zeros(bytes)))
            .collect::<BTreeMap<_, _>>()
    });
    let of_zeros = hashing
        .await
        .map_err(|error| Failure::internal(format!("hash zeros: {error}")))?;
    let mut trees: BTreeMap<String, Tree> = BTreeMap::new();
    for (path, Acknowledged { by, bytes, content }) in acknowledged {
        let Some(path) = path
            .strip_prefix(root.as_str())
            .and_then(|path| path.strip_prefix('/'))
        else {
            continue;
        };
        let content = match content {
            Content::Zeros => of_zeros.get(&bytes).cloned(),
            Content::Md5(md5) => Some(md5),
        };
        let entry = Entry {
            kind: 'f',
            size: bytes,
            content,
        };
        trees.entry(by).or_default().insert(path.to_owned(), entry);
    }
    Ok(trees)
}

fn md5_of_zeros(bytes: u64) -> String {
    const BLOCK: usize = 1 << 20;
    let zeros = vec![0_u8; BLOCK];
    let mut hasher = Md5::new();
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        hasher.update(&zeros[..now]);
        left -= now as u64;
    }
    hex::encode(hasher.finalize())
}

/// What the kernels have said up to now.
async fn kernel_logs(doing: Doing<'_>, on: &[NodeName]) -> Result<(), Failure> {
    let context = doing.context;
    console_sync::catch_up(context, on, |_| String::new()).await?;
    let is_on = |finding: &Finding| on.iter().any(|node| node.as_str() == finding.node);
    let mut counting = context.counting();
    counting.retain(is_on);
    if counting.is_empty() {
        Ok(())
    } else {
        Err(Cause::Evidence(counting).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_hash_as_md5sum_says() {
        let empty = "d41d8cd98f00b204e9800998ecf8427e";
        assert_eq!(md5_of_zeros(0), empty);
        let more_than_a_block = "9587b149ff392ca6887a05d921e73e72";
        assert_eq!(md5_of_zeros((1 << 20) + 1), more_than_a_block);
    }
}
