//! What guests have read of the root image before they become templates.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sanlab_plan::guest::SHELL;

use crate::layers::{
    dlm, drbd, gfs2, gnbd, iscsi, lvm, mapping, md, membership, multipath, nbd, o2cb, ocfs2,
    shared_disk,
};

/// Files of the root image that a layer uses; having read them changes nothing but a guest's page cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hot {
    /// Kernel modules, with those that they need. They are read, not loaded: loading is the layer's own work.
    pub(crate) modules: &'static [&'static str],
    /// Programs with arguments by which they do nothing but load themselves and their libraries.
    pub(crate) commands: &'static [(&'static str, &'static str)],
}

const ALL: [Hot; 14] = [
    nbd::HOT,
    shared_disk::HOT,
    membership::HOT,
    drbd::HOT,
    gnbd::HOT,
    iscsi::HOT,
    multipath::HOT,
    md::HOT,
    mapping::HOT,
    dlm::HOT,
    lvm::HOT,
    gfs2::HOT,
    o2cb::HOT,
    ocfs2::HOT,
];

/// A script that reads what any layer will read of the root image, so that a guest has it in memory. What cannot be read is
/// left: it is no more than slow then.
///
/// It is the same for all scenarios, whatever their layers: so are the templates and the first layers of those that begin
/// alike.
pub fn warm() -> String {
    let modules: BTreeSet<&str> = ALL.iter().flat_map(|hot| hot.modules).copied().collect();
    let commands = ALL.iter().flat_map(|hot| hot.commands);
    let commands: BTreeSet<String> = commands
        .map(|(program, arguments)| format!("{program} {arguments}"))
        .collect();
    let modules = modules.into_iter().collect::<Vec<_>>().join(" ");
    let mut text = format!(
        "exec >/dev/null 2>&1 </dev/null\n\
         set +e\n\
         modprobe -a --show-depends {modules} | while read -r insmod file rest; do cat \"$file\"; done\n"
    );
    for command in commands {
        // Only Strings are written to.
        let _ = writeln!(text, "{command}");
    }
    // Of scenarios' commands.
    let _ = writeln!(text, "{SHELL} -c true");
    text + "true\n"
}
