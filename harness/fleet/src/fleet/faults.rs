//! The network between members becomes worse on purpose, and good again; members stand still, and go on.

use std::sync::Arc;

use crate::error::FleetError;
use crate::fleet::Fleet;
use crate::network::{Impairment, ImpairmentId};
use crate::nodes::node::Node;

impl Fleet {
    /// Has something done on purpose to frames between members until [`Fleet::restore`]; see
    /// [`Switch::impair`](crate::Switch::impair). Ports have the members' names. It stays while members crash, restart and
    /// are forked again in their places; a fleet that is made by [`Fleet::fork`] begins without.
    pub fn impair(
        &self,
        seed: u64,
        impairments: Vec<Impairment>,
    ) -> Result<ImpairmentId, FleetError> {
        self.members
            .with_resources(|resources| resources.switch.impair(seed, impairments))
    }

    /// Ends what [`Fleet::impair`] began; see [`Switch::restore`](crate::Switch::restore).
    pub fn restore(&self, id: ImpairmentId) -> Result<(), FleetError> {
        self.members
            .with_resources(|resources| resources.switch.restore(id))
    }

    /// Pulls the cable of a member's network card, so that its driver sees the carrier go, or plugs it in again. A member
    /// that is restarted has it plugged in; one that does not run is [`FleetError::NotThere`].
    pub async fn set_link(&self, node: &str, up: bool) -> Result<(), FleetError> {
        self.there(node)?.set_link(up).await
    }

    /// Lets a member stand still, all of its processors and clocks; one that does not run is [`FleetError::NotThere`].
    pub async fn pause_one(&self, node: &str) -> Result<(), FleetError> {
        self.there(node)?.stand_still().await
    }

    /// Lets it go on.
    pub async fn resume_one(&self, node: &str) -> Result<(), FleetError> {
        self.there(node)?.go_on().await
    }

    fn there(&self, node: &str) -> Result<Arc<Node>, FleetError> {
        self.spec.member(node)?;
        self.members.with_resources(|_| Ok(()))?;
        self.node(node).ok_or_else(|| FleetError::NotThere {
            node: node.to_owned(),
        })
    }
}
