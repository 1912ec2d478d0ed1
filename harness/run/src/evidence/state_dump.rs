//! The state of a fleet at the end of its steps, in a form that does not change from run to run: two runs of a scenario are
//! alike when their state dumps are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use sanlab_plan::NodeName;

use crate::Failure;
use crate::engine::context::RunContext;
use crate::engine::join;
use crate::engine::state::Content;
use crate::evidence::tree;

/// The file's name in a run's folder.
pub const STATE_DUMP: &str = "state-dump.json";

/// For one look: reading all files of a volume takes longest.
const LOOK: Duration = Duration::from_secs(600);

/// By node and by what was looked at, what was seen.
type StateDump = BTreeMap<String, BTreeMap<String, String>>;

/// Looks at all nodes side by side, and writes the state dump to `folder`.
pub(crate) async fn write(context: &RunContext, folder: &Path) -> Result<(), Failure> {
    let there = context.there();
    let nodes = there.iter().map(|node| of_node(context, node));
    let state_dump: StateDump = join::all(nodes).await?.into_iter().collect();
    let failed = Failure::host("write the state dump");
    let text = serde_json::to_vec_pretty(&state_dump).map_err(std::io::Error::from);
    text.and_then(|text| fs_err::write(folder.join(STATE_DUMP), text))
        .map_err(failed)
}

async fn of_node(
    context: &RunContext,
    node: &NodeName,
) -> Result<(String, BTreeMap<String, String>), Failure> {
    let mut seen = BTreeMap::new();
    for (what, script) in looks(context, node) {
        let ended = context.backend.exec(node, &script, LOOK).await?;
        let text = ended
            .success()
            .map_err(|failure| failure.during(format!("look at {what} on {node}")))?;
        seen.insert(what, text);
    }
    if context.mounted().contains(node) {
        let at = context.volume()?.at.as_str();
        let ended = context.backend.exec(node, &tree::listing(at), LOOK).await?;
        seen.insert(at.to_owned(), files(context, at, &ended.success()?)?);
    }
    Ok((node.to_string(), seen))
}

/// The layers' own looks at themselves, and the configuration that they left.
fn looks(context: &RunContext, node: &NodeName) -> Vec<(String, String)> {
    let mut looks = vec![
        (
            "mounts".to_owned(),
            // OCFS2 shows the size of a node's allocation window where that is less than the usual one: on a small volume
            // the node that mounts last gets less.
            "sed -n '/ \\(gfs2\\|ocfs2\\|ocfs2_dlmfs\\|configfs\\) /{s/,localalloc=[0-9]*//;p}' /proc/mounts | sort\n"
                .to_owned(),
        ),
        (
            "cluster.conf".to_owned(),
            "cat /etc/ocfs2/cluster.conf 2>/dev/null || true\n".to_owned(),
        ),
        (
            "identity".to_owned(),
            "hostname; cat /etc/hosts; cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu\n"
                .to_owned(),
        ),
    ];
    let probes = context.stack.end_probes(&context.present()).into_iter();
    looks.extend(
        probes
            .filter(|it| it.probe.node == *node)
            .map(|it| (format!("{}: {}", it.kind, it.probe.title), it.probe.script)),
    );
    looks
}

/// The files under `at`. Random bytes differ from run to run: it is said of them only whether they are those that were
/// acknowledged. How far a writer came that was cut short differs, too: nothing is said of its file but that it is there.
fn files(context: &RunContext, at: &str, listed: &str) -> Result<String, Failure> {
    let tree =
        tree::parse(listed).map_err(|odd| Failure::not_understood(format!("read {at}: {odd}")))?;
    let acknowledged = context.acknowledged();
    let writers = context.ack_logs();
    let mut text = String::new();
    for (path, entry) in tree {
        let whole_path = format!("{at}/{path}");
        let random = acknowledged
            .get(&whole_path)
            .and_then(|write| match &write.content {
                Content::Md5(md5) => Some(md5),
                Content::Zeros => None,
            });
        let cut_short = writers
            .get(&whole_path)
            .is_some_and(|log| !log.is_complete());
        let what = match random {
            _ if cut_short => "what a writer wrote that was cut short".to_owned(),
            Some(md5) if entry.content.as_ref() == Some(md5) => {
                format!("{} random bytes as acknowledged", entry.size)
            }
            _ => entry.to_string(),
        };
        // A String takes everything.
        let _ = writeln!(text, "{path}: {what}");
    }
    Ok(text)
}
