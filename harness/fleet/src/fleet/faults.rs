//! The network between members becomes worse on purpose, and good again, or is watched; members stand still, and go on.

use std::sync::Arc;

use crate::error::FleetError;
use crate::fleet::Fleet;
use crate::network::{Impairment, ImpairmentId, LiveCapture, Switch};
use crate::nodes::node::Node;

/// Names impairments that are active in a fleet's networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Impaired(Vec<(usize, ImpairmentId)>);

/// The same seed draws different fates on each network; on the first, those of the seed.
const NEXT_NETWORK: u64 = 0x9e37_79b9_7f4a_7c15;

impl Fleet {
    /// Has something done on purpose to frames between members on these networks until [`Fleet::restore`]; see
    /// [`Switch::impair`](crate::Switch::impair). Ports have the members' names. It stays while members crash, restart and
    /// are forked again in their places; a fleet that is made by [`Fleet::fork`] begins without.
    pub fn impair(
        &self,
        networks: &[String],
        seed: u64,
        impairments: &[Impairment],
    ) -> Result<Impaired, FleetError> {
        let places = networks.iter().map(|name| self.spec.network(name));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let mut impaired = Impaired::default();
        for place in places {
            let factor = u64::try_from(place).unwrap_or_default();
            let seed = seed ^ NEXT_NETWORK.wrapping_mul(factor);
            let begun = self.switch(place, |switch| switch.impair(seed, impairments.to_vec()));
            match begun {
                Ok(id) => impaired.0.push((place, id)),
                Err(error) => {
                    self.restore(&impaired)?;
                    return Err(error);
                }
            }
        }
        Ok(impaired)
    }

    /// Ends what [`Fleet::impair`] began; see [`Switch::restore`](crate::Switch::restore).
    pub fn restore(&self, impaired: &Impaired) -> Result<(), FleetError> {
        for (place, id) in &impaired.0 {
            self.switch(*place, |switch| switch.restore(*id))?;
        }
        Ok(())
    }

    /// Shows what a member's port on that network carries from now on; see [`Switch::watch`](crate::Switch::watch).
    pub fn watch(&self, node: &str, network: &str) -> Result<LiveCapture, FleetError> {
        let (member, place) = (self.spec.member(node)?, self.spec.network(network)?);
        self.spec.card(member, network)?;
        self.switch(place, |switch| Ok(switch.watch(node)))
    }

    fn switch<T>(
        &self,
        place: usize,
        work: impl FnOnce(&Switch) -> Result<T, FleetError>,
    ) -> Result<T, FleetError> {
        self.members.with_resources(|resources| {
            let switch = resources.switches.get(place).ok_or(FleetError::Ended)?;
            work(switch)
        })
    }

    /// Pulls the cable of a member's card on that network, so that its driver sees the carrier go, or plugs it in again. A member
    /// that is restarted has all plugged in; one that does not run is [`FleetError::NotThere`].
    pub async fn set_link(&self, node: &str, network: &str, up: bool) -> Result<(), FleetError> {
        let node = self.there(node)?;
        let card = self.spec.card(node.spec(), network)?.number;
        node.set_link(card, up).await
    }

    /// Lets a member stand still, all of its processors and clocks; one that does not run is [`FleetError::NotThere`]. A fleet that is
    /// saved whole meanwhile leaves it so.
    pub async fn pause_one(&self, node: &str) -> Result<(), FleetError> {
        let node = self.there(node)?;
        node.set_paused(true);
        node.stand_still().await
    }

    /// Lets it go on.
    pub async fn resume_one(&self, node: &str) -> Result<(), FleetError> {
        let node = self.there(node)?;
        node.set_paused(false);
        node.go_on().await
    }

    fn there(&self, node: &str) -> Result<Arc<Node>, FleetError> {
        self.spec.member(node)?;
        self.members.with_resources(|_| Ok(()))?;
        self.node(node).ok_or_else(|| FleetError::NotThere {
            node: node.to_owned(),
        })
    }
}
