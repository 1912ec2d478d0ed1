//! Banned nodes, and the timestamps by which nodes that were started anew are told from those that were not.
//!
//! The historic server lifted a ban, too, at the first login of a node that it had never seen: then a node that was
//! fenced after the server's restart and before its own reconnection came back and wrote. Here only a *changed*
//! timestamp lifts a ban; a node that was banned before it was ever seen needs UNFENCE.

use std::collections::BTreeMap;

use rustix::io::Errno;

use crate::protocol::NodeName;

#[derive(Debug)]
pub(super) struct Fences {
    banned: Vec<NodeName>,
    timestamps: BTreeMap<NodeName, u64>,
    limit: usize,
}

impl Fences {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            banned: Vec::new(),
            timestamps: BTreeMap::new(),
            limit,
        }
    }

    /// The banned nodes, newest first.
    pub(super) fn banned(&self) -> &[NodeName] {
        &self.banned
    }

    /// Success means that it is banned, as before or from now on.
    pub(super) fn ban(&mut self, node: &NodeName) -> Result<(), Errno> {
        if self.banned.contains(node) {
            return Ok(());
        }
        if self.banned.len() >= self.limit {
            return Err(Errno::NOSPC);
        }
        self.banned.insert(0, node.clone());
        Ok(())
    }

    pub(super) fn lift(&mut self, node: &NodeName) {
        self.banned.retain(|banned| banned != node);
    }

    /// Whether a node with this timestamp may log in.
    pub(super) fn admit(&mut self, node: &NodeName, timestamp: u64) -> Result<(), Errno> {
        match self.timestamps.get_mut(node) {
            Some(known) if *known == timestamp => {}
            Some(known) => {
                *known = timestamp;
                self.lift(node);
            }
            None => self.learn(node, timestamp),
        }
        if self.banned.contains(node) {
            return Err(Errno::PERM);
        }
        Ok(())
    }

    /// Where there is no more room, a node is forgotten that is not banned: nothing depends on its timestamp yet.
    fn learn(&mut self, node: &NodeName, timestamp: u64) {
        if self.timestamps.len() >= 2 * self.limit {
            let mut known = self.timestamps.keys();
            let spare = known.find(|node| !self.banned.contains(node)).cloned();
            match spare {
                Some(spare) => self.timestamps.remove(&spare),
                None => return,
            };
        }
        self.timestamps.insert(node.clone(), timestamp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    #[test]
    fn a_changed_timestamp_lifts_a_ban() {
        let (mut fences, client) = (Fences::new(10), node("client0"));
        assert_eq!(fences.admit(&client, 1), Ok(()));
        fences.ban(&client).unwrap();
        assert_eq!(fences.admit(&client, 1), Err(Errno::PERM));
        assert_eq!(fences.admit(&client, 2), Ok(()));
        assert!(fences.banned().is_empty());
    }

    #[test]
    fn the_first_login_of_a_banned_node_does_not() {
        let (mut fences, client) = (Fences::new(10), node("client0"));
        fences.ban(&client).unwrap();
        assert_eq!(fences.admit(&client, 1), Err(Errno::PERM));
        assert_eq!(fences.admit(&client, 1), Err(Errno::PERM));
        fences.lift(&client);
        assert_eq!(fences.admit(&client, 1), Ok(()));
    }

    #[test]
    fn thousands_of_names_cost_no_ban() {
        let (mut fences, client) = (Fences::new(10), node("client0"));
        assert_eq!(fences.admit(&client, 1), Ok(()));
        fences.ban(&client).unwrap();
        for number in 0..1000 {
            assert_eq!(fences.admit(&node(&format!("x{number}")), 1), Ok(()));
        }
        assert_eq!(fences.timestamps.len(), 20);
        assert_eq!(fences.admit(&client, 1), Err(Errno::PERM));
    }

    #[test]
    fn the_list_has_an_end() {
        let mut fences = Fences::new(2);
        assert_eq!(fences.ban(&node("a")), Ok(()));
        assert_eq!(fences.ban(&node("b")), Ok(()));
        assert_eq!(fences.ban(&node("a")), Ok(()));
        assert_eq!(fences.ban(&node("c")), Err(Errno::NOSPC));
        assert_eq!(fences.banned(), [node("b"), node("a")]);
    }
}
