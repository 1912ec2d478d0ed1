//! A supervisor's side of a debugger.

use std::io;
use std::path::PathBuf;

use sanlab_fleet::Node;
use sanlab_image::{ImageError, Store, Symbols};
use sanlab_plan::{Arch, Artefact};
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::task::spawn_blocking;

use super::control_socket::{Shared, until_closed};
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
    let symbols = symbols(shared, node).await;
    Ok(Reply::Gdb {
        socket,
        architecture: architecture.to_owned(),
        symbols: symbols.map_err(|error| refused(format!("failed to {error}")))?,
    })
}

/// The debug information of the kernel that a node boots, if it is here.
async fn symbols(shared: &Shared, node: &Node) -> Result<Option<PathBuf>, ImageError> {
    let origin = &shared.origin;
    let mut images = origin.images.iter();
    let Some((name, image)) = images.find(|(name, _)| name.as_str() == node.name()) else {
        return Ok(None);
    };
    let artefacts: Vec<Artefact> = origin.plan.artefacts_of(name).cloned().collect();
    let image = image.clone();
    let look = move || {
        let symbols = Symbols::find(&image, &artefacts, &Store::open_default()?)?;
        // The other end may stand in another folder.
        let kernel = symbols.kernel().map(std::path::absolute);
        Ok(kernel.transpose()?)
    };
    spawn_blocking(look).await.map_err(io::Error::from)?
}
