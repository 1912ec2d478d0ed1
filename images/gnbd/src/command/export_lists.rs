//! What `gnbd_export -l` and `-L` print.

use std::fmt::Write as _;

use crate::protocol::local::{ExportDescription, SessionDescription};

/// The exports, numbered from 1.
pub(super) fn exports(exports: &[ExportDescription]) -> String {
    let mut text = String::new();
    for (index, export) in exports.iter().enumerate() {
        let invalid = if export.invalid { "(invalid)" } else { "" };
        let yes = |yes: bool| if yes { "yes" } else { "no" };
        let timeout = match export.timeout {
            0 => "no".to_owned(),
            seconds => seconds.to_string(),
        };
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "Server[{}] : {} {invalid}\n--------------------------\n\
             {:>10} : {}\n{:>10} : {}\n{:>10} : {}\n{:>10} : {}\n{:>10} : {timeout}\n",
            index + 1,
            export.name,
            "file",
            export.path.display(),
            "sectors",
            export.sectors,
            "readonly",
            yes(export.read_only),
            "cached",
            yes(!export.uncached),
            "timeout"
        );
        if !export.uid.is_empty() {
            let _ = writeln!(text, "{:>10} : {}", "uid", export.uid);
        }
        text.push('\n');
    }
    text
}

/// The connections, one a row.
pub(super) fn sessions(sessions: &[SessionDescription]) -> String {
    let mut text = "  pid       client      device\n--------------------------------\n".to_owned();
    for session in sessions {
        let SessionDescription { node, pid, device } = session;
        let _ = writeln!(text, "{pid:>5}  {node:>15}  {device}");
    }
    text
}
