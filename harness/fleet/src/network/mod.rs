//! The fleet's network: a learning layer-2 switch in user space. QEMU connects each guest's network card to a unix
//! socket (`-netdev stream`), so nobody needs root, taps or bridges, and fleets do not see each other.
//!
//! One thread of its own with a `poll` loop serves all ports, apart from the runtime that runs the tests: bulk data
//! neither waits for it nor holds it up. A frame is copied twice, from one socket and to the other.
//! Where something is done to frames on purpose ([`Impairment`]), they are taken one by one.

mod counters;
mod engine;
mod event;
mod impairment;
mod late;
mod link;
mod pairs;
mod pcap;
mod station;
mod switch;
mod tap;
mod wire;

pub(crate) use counters::Activity;
pub use counters::PortCounters;
pub use event::SwitchEvent;
pub use impairment::{Effect, Impairment, ImpairmentId};
pub(crate) use station::{Station, Target};
pub use switch::{PortSpec, Switch};
pub use tap::LiveCapture;
pub(crate) use wire::Mac;
