//! What guests have read of the root image before they become templates.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sanlab_plan::each_layer_type;
use sanlab_plan::guest::SHELL;

use crate::layers::describe::Describe;

/// A script that reads what any layer will read of the root image, so that a guest has it in memory. What cannot be read is
/// left: it is no more than slow then.
///
/// It is the same for all scenarios, whatever their layers: so are the templates and the first layers of those that begin
/// alike.
pub fn warm() -> String {
    let layers = each_layer_type!(Layer => <Layer as Describe>::HOT);
    let modules: BTreeSet<&str> = layers.iter().flat_map(|hot| hot.modules).copied().collect();
    let commands = layers.iter().flat_map(|hot| hot.commands);
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
