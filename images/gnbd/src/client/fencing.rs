//! Whether a silent server is fenced, and if not, who sees to it.

use std::path::Path;
use std::time::Duration;

use super::device::Device;
use super::monitor::State;
use super::request::Server;
use super::settings::Fencer;
use super::status;
use crate::membership::NodeState;

/// How long another server may take to show that it lives, and this machine with it.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);

/// Sees to a silent server's fencing, as the historic monitor did: only if another server is well; else we may be the
/// ones who are cut off. Unlike then it does not matter whether the server is a member of this node's cluster:
/// storage machines may have one of their own, and who has none in common with them must have them fenced all the
/// same before anything is failed.
pub(super) fn fencer(
    folder: &Path,
    device: &Device,
    log: impl Fn(&str) + Send + 'static,
) -> Fencer {
    let (folder, device) = (folder.to_owned(), device.clone());
    Box::new(move |last_login| {
        let Some(server) = &device.server_node else {
            return false;
        };
        let state = match device.membership.state(server) {
            Ok(state) => state,
            Err(error) => {
                log(&format!("failed to {error}"));
                return false;
            }
        };
        if is_fenced(state, last_login) {
            return true;
        }
        if !another_is_well(&folder, &device) {
            log("no other server is well: fencing none");
            return false;
        }
        match device.membership.fence(server) {
            Ok(()) => {
                log(&format!("server {server} is fenced"));
                true
            }
            Err(error) => {
                log(&format!("failed to {error}"));
                false
            }
        }
    })
}

/// Whether the cluster's word means that the server that has our requests is gone: not one before it.
fn is_fenced(state: NodeState, last_login: Duration) -> bool {
    match state {
        NodeState::Fenced(moment) => moment.is_none_or(|moment| moment > last_login),
        NodeState::Member | NodeState::Left | NodeState::Unknown => false,
    }
}

/// Whether a monitored device of another server gets its answers, and that server says so at this moment: a device
/// that nobody uses seems well for long.
fn another_is_well(folder: &Path, device: &Device) -> bool {
    let others = Device::load_all(folder).unwrap_or_default();
    let mut asked: Vec<&Server> = Vec::new();
    others
        .iter()
        .filter(|other| other.timeout > 0 && other.server.host != device.server.host)
        .filter(|other| {
            let status = status::query(folder, other.index);
            status.is_some_and(|status| status.connected && status.state == State::Normal)
        })
        .any(|other| {
            let first = !asked.contains(&&other.server);
            asked.push(&other.server);
            first && other.server.is_alive(SIGN_OF_LIFE)
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::sync::{Arc, Mutex};

    use tempfile::TempDir;

    use super::*;
    use crate::client::notice::mailbox;
    use crate::client::remote::{Remote, Status};
    use crate::log::Log;
    use crate::membership::Membership;
    use crate::protocol::{NodeName, Uid};
    use crate::server::{Bind, Server as Serv, ServerOptions};

    #[test]
    fn who_was_fenced_before_the_last_login_is_another() {
        let second = Duration::from_secs(1);
        assert!(is_fenced(NodeState::Fenced(None), second));
        assert!(is_fenced(NodeState::Fenced(Some(2 * second)), second));
        assert!(!is_fenced(NodeState::Fenced(Some(second)), second));
        assert!(!is_fenced(NodeState::Fenced(Some(second)), 2 * second));
        for state in [NodeState::Member, NodeState::Left, NodeState::Unknown] {
            assert!(!is_fenced(state, second));
        }
    }

    /// A client with a device from each of two servers, of which the second lives.
    struct Client {
        folder: TempDir,
        device: Device,
        other: Device,
        server: Option<Serv>,
        said: Arc<Mutex<Vec<String>>>,
    }

    impl Client {
        /// `hook` is what the cluster does when it is asked for a state, and when it is to fence.
        fn new(state: &str, fence: &str) -> Self {
            let folder = TempDir::new().unwrap();
            let hook = folder.path().join("hook");
            let text = format!("case $1 in\nstate) {state} ;;\nfence) {fence} ;;\nesac\n");
            // Another process writes it: one that this process has open for that cannot be run by chance.
            let write = "printf '#!/bin/sh\\n%s' \"$2\" >\"$1\" && chmod 755 \"$1\"";
            let mut shell = std::process::Command::new("/bin/sh");
            let shell = shell.args(["-c", write, "sh"]).arg(&hook).arg(text);
            assert!(shell.status().unwrap().success());
            let bind = Bind::Address("127.0.0.1:0".parse().unwrap());
            let node = NodeName::new("storage0b").unwrap();
            let options = ServerOptions::new(bind, node, Log::memory("gnbd_serv"));
            let server = Serv::start(options).unwrap();
            let device = Device {
                index: 0,
                name: "gnbd0a".parse().unwrap(),
                server: Server::new("127.0.0.2", 1),
                server_node: Some("storage0a".parse().unwrap()),
                node: "client0".parse().unwrap(),
                uid: Uid::none(),
                sectors: 8,
                read_only: false,
                timeout: 10,
                fail_fast: None,
                dead_peer_grace: None,
                retry: None,
                membership: Membership::Hook(hook),
            };
            let other = Device {
                index: 1,
                name: "gnbd0b".parse().unwrap(),
                server: Server::new("127.0.0.1", server.address().port()),
                ..device.clone()
            };
            device.save(folder.path()).unwrap();
            other.save(folder.path()).unwrap();
            Self {
                folder,
                device,
                other,
                server: Some(server),
                said: Arc::default(),
            }
        }

        /// Has a relay of the other device answer for itself.
        fn show(&self, status: Status) {
            let (_, messenger) = mailbox().unwrap();
            let remote = Remote::new(messenger);
            remote.post(status);
            let socket = status::socket_file(self.folder.path(), self.other.index);
            let listener = UnixListener::bind(socket).unwrap();
            std::thread::spawn(move || status::serve(&listener, &remote));
        }

        fn fence(&self) -> bool {
            let said = Arc::clone(&self.said);
            let log = move |line: &str| said.lock().unwrap().push(line.to_owned());
            fencer(self.folder.path(), &self.device, log)(Duration::from_secs(100))
        }

        fn said(&self) -> Vec<String> {
            self.said.lock().unwrap().clone()
        }
    }

    const WELL: Status = Status {
        connected: true,
        pending: 3,
        state: State::Normal,
    };

    #[test]
    fn a_server_of_any_cluster_is_fenced_while_another_is_well() {
        for state in ["member", "left", "unknown", "fenced 99.9"] {
            let client = Client::new(&format!("echo {state}"), "[ $2 = storage0a ]");
            client.show(WELL);
            assert!(client.fence(), "{state}");
            assert_eq!(client.said(), ["server storage0a is fenced"]);
        }
    }

    #[test]
    fn who_is_fenced_is_not_fenced_again() {
        for state in ["fenced", "fenced 100.1"] {
            let client = Client::new(&format!("echo {state}"), "exit 1");
            assert!(client.fence(), "{state}");
        }
    }

    #[test]
    fn nobody_is_fenced_by_who_may_be_cut_off() {
        let unwell = [
            None,
            Some(Status {
                connected: false,
                ..WELL
            }),
            Some(Status {
                state: State::TimedOut,
                ..WELL
            }),
        ];
        for status in unwell {
            let client = Client::new("echo unknown", "exit 0");
            if let Some(status) = status {
                client.show(status);
            }
            assert!(!client.fence(), "{status:?}");
            assert_eq!(client.said(), ["no other server is well: fencing none"]);
        }
        // A device that nobody uses seems well though its server is gone.
        let mut client = Client::new("echo unknown", "exit 0");
        client.show(WELL);
        client.server = None;
        assert!(!client.fence());
    }

    #[test]
    fn what_the_cluster_cannot_do_is_not_done() {
        let client = Client::new("echo unknown", "exit 1");
        client.show(WELL);
        assert!(!client.fence());
        assert!(
            client.said()[0].contains("fence storage0a"),
            "{:?}",
            client.said()
        );
        let client = Client::new("exit 1", "exit 0");
        client.show(WELL);
        assert!(!client.fence());
    }
}
