//! A supervisor's side of a debugger.

use std::io;

use sanlab_fleet::Node;
use sanlab_plan::Arch;
use tokio::io::BufReader;
use tokio::net::UnixStream;

use super::door::{Shared, until_closed};
use super::protocol::{Reply, send};

/// Lets a debugger connect to a node until the connection is closed.
pub(crate) async fn serve(
    mut stream: BufReader<UnixStream>,
    shared: &Shared,
    node: &str,
) -> io::Result<()> {
    let found = match shared.node(node) {
        Ok(found) => found,
        Err(refused) => return send(&mut stream, &refused).await,
    };
    match begin(shared, &found).await {
        Ok(reply) => {
            send(&mut stream, &reply).await?;
            until_closed(stream, shared).await?;
            // A node that has ended meanwhile serves nobody.
            let _ = found.serve_gdb(None).await;
            Ok(())
        }
        Err(refused) => send(&mut stream, &refused).await,
    }
}

async fn begin(shared: &Shared, node: &Node) -> Result<Reply, Reply> {
    let refused = |reason: String| Reply::Refused {
        reason,
        mistaken: false,
    };
    let place = shared.origin.plan.nodes.iter();
    let place = place
        .clone()
        .position(|one| one.name.as_str() == node.name());
    let number = place.unwrap_or_default();
    let socket = shared.folder.join(format!("{number}.gdb"));
    match fs_err::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(refused(error.to_string()));
        }
        _ => {}
    }
    let served = node.serve_gdb(Some(&socket)).await;
    served.map_err(|error| refused(format!("failed to {error}")))?;
    let architecture = match node.arch() {
        Arch::X86 => "i386",
        Arch::X86_64 => "i386:x86-64",
    };
    Ok(Reply::Gdb {
        socket,
        architecture: architecture.to_owned(),
    })
}
