//! `degrade`: a network that is late, slow, or loses and damages what it carries.

use std::fmt::Write as _;
use std::time::Duration;

use super::{FaultRole, PlannedStep, StepTable, Walk, names};
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::document::word::words;
use crate::steps::topology::Must;
use crate::steps::topology::open_faults::{Broken, OpenFault};
use crate::values::names::{NetworkName, NodeName, StepLabel};
use crate::values::units::{ByteSize, Share};

/// The longest delay: whoever waits longer for an answer has given up.
const DELAY: Duration = Duration::from_secs(10);

/// The smallest packet that a path may not carry: IPv4 asks for 68 bytes of every link.
const MTU: u32 = 68;

table! {
    /// Makes the network between nodes late, slow or lossy. What is sent through it still arrives in the end: it excuses no
    /// error.
    Written, "`degrade`", r#"{ on = "vix1", delay = "20ms" }"# {
        /// Whose network.
        on: Nodes, required r#""vix1""#;
        /// Only between them and these. Default: every other node.
        with: Nodes, optional;
        /// `both`; `out`: only what `on` sends; `in`: only what is sent to `on`.
        direction: Direction, default Direction::Both;
        /// The one network that is degraded. Default: all of them.
        network: NetworkName, optional;
        /// Each frame arrives later by this time.
        delay: Duration, default Duration::ZERO;
        /// And by up to this time more or less; frames stay in order.
        jitter: Duration, default Duration::ZERO;
        /// The share of frames that are lost.
        loss: Share, default Share::NONE;
        /// The share of frames that arrive twice.
        duplicate: Share, default Share::NONE;
        /// With `delay`: the share of frames that overtake the others.
        reorder: Share, default Share::NONE;
        /// The share of frames that arrive with one bit wrong.
        corrupt: Share, default Share::NONE;
        /// Bytes a second, between each two nodes and in each direction.
        rate: ByteSize, optional;
        /// Packets of more bytes vanish without an answer (an MTU black hole).
        mtu: u32, optional;
        /// It ends by itself after this time. Default: with a step `heal`, else when the layers are taken down.
        lasts: Duration, optional;
    }
}

words! {
    /// Of the traffic of nodes.
    pub Direction, "direction", "directions", "a direction", r#""both""# {
        /// What they send, and what is sent to them.
        Both = "both",
        /// What they send.
        Out = "out",
        /// What is sent to them.
        In = "in",
    }
}

/// A network that is late, slow, or loses and damages what it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degrade {
    /// Whose; never empty.
    pub on: Vec<NodeName>,
    /// At the other end; never empty, and none of [`Self::on`].
    pub with: Vec<NodeName>,
    /// Of the traffic of [`Self::on`].
    pub direction: Direction,
    /// The one network that is degraded; nothing: all of them.
    pub network: Option<NetworkName>,
    /// Each frame is later by this.
    pub delay: Duration,
    /// And by up to this more or less.
    pub jitter: Duration,
    /// Lost.
    pub loss: Share,
    /// Arrive twice.
    pub duplicate: Share,
    /// Overtake the others.
    pub reorder: Share,
    /// Arrive with a bit wrong.
    pub corrupt: Share,
    /// Bytes a second of each pair of nodes and direction.
    pub rate: Option<ByteSize>,
    /// Larger packets vanish.
    pub mtu: Option<u32>,
    /// When it ends by itself.
    pub lasts: Option<Duration>,
}

impl StepTable for Written {
    type Planned = Degrade;

    fn lower(&self, span: &Span, label: &StepLabel, walk: &mut Walk<'_>) -> Option<Degrade> {
        walk.check_lasts(self.lasts.as_ref());
        let list = self.on.as_ref()?;
        let on = walk
            .topology
            .choose(Some(list), Must::BeThere, span, walk.mistakes)?;
        let (with, named): (Vec<NodeName>, _) = if let Some(others) = &self.with {
            let with = walk
                .topology
                .choose(Some(others), Must::BeThere, span, walk.mistakes)?;
            let named = [&on[..], &with].concat();
            (with, named)
        } else {
            let all = walk.topology.node_set.nodes.iter().map(|node| &node.name);
            let others = all.filter(|node| !on.contains(node)).cloned();
            (others.collect(), on.clone())
        };
        if let Some((both, others)) = with
            .iter()
            .find(|node| on.contains(node))
            .zip(self.with.as_ref())
        {
            walk.mistakes.note(
                Diagnostic::at(&others.span, format!("`{both}` is at both ends"))
                    .label("between it and itself is no network")
                    .help("name each node in `on` or in `with`"),
            );
            return None;
        }
        if with.is_empty() {
            walk.mistakes.note(
                Diagnostic::at(&list.span, "no other node is left")
                    .label("all of them")
                    .help("name the nodes at one end in `on`, those at the other in `with`"),
            );
            return None;
        }
        let networks = walk.networks(self.network.as_ref(), &named)?;
        let planned = Degrade {
            on,
            with,
            direction: self.direction.as_ref()?.value,
            network: self.network.as_ref().map(|name| name.value.clone()),
            delay: self.delay.as_ref()?.value,
            jitter: self.jitter.as_ref()?.value,
            loss: self.loss.as_ref()?.value,
            duplicate: self.duplicate.as_ref()?.value,
            reorder: self.reorder.as_ref()?.value,
            corrupt: self.corrupt.as_ref()?.value,
            rate: self.rate.as_ref().map(|rate| rate.value),
            mtu: self.mtu.as_ref().map(|mtu| mtu.value),
            lasts: self.lasts.as_ref().map(|lasts| lasts.value),
        };
        self.check_effects(span, &planned, walk);
        walk.topology.open_faults.begin(OpenFault {
            label: label.clone(),
            span: span.clone(),
            what: Broken::Network(networks),
        });
        Some(planned)
    }
}

impl Written {
    fn check_effects(&self, span: &Span, planned: &Degrade, walk: &mut Walk<'_>) {
        let mut wrong = |span: &Span, title: &str, label: &str, help: &str| {
            walk.mistakes
                .note(Diagnostic::at(span, title).label(label).help(help));
        };
        if planned.effects().is_empty() {
            wrong(
                span,
                "a network that is as it was",
                "nothing is degraded",
                r#"say what is, such as `delay = "20ms"` or `loss = "1%"`"#,
            );
        }
        if let Some(delay) = self.delay.as_ref().filter(|delay| delay.value > DELAY) {
            wrong(
                &delay.span,
                "impossible `delay`",
                "out of range",
                "give at most 10s; a network on which nothing arrives is a `partition`",
            );
        }
        if let Some(jitter) = self
            .jitter
            .as_ref()
            .filter(|jitter| jitter.value > planned.delay)
        {
            wrong(
                &jitter.span,
                "`jitter` beyond `delay`",
                "frames cannot be early",
                "give a `delay` of at least as much",
            );
        }
        if let Some(reorder) = self
            .reorder
            .as_ref()
            .filter(|reorder| reorder.value > Share::NONE && planned.delay.is_zero())
        {
            wrong(
                &reorder.span,
                "`reorder` without `delay`",
                "nothing to overtake",
                r#"give the others a `delay`, such as "5ms""#,
            );
        }
        if let Some(loss) = self.loss.as_ref().filter(|loss| loss.value == Share::ALL) {
            wrong(
                &loss.span,
                "all frames are lost",
                "no network is left",
                "write a `partition`, whose verdict knows who is cut off",
            );
        }
        if let Some(rate) = self.rate.as_ref().filter(|rate| rate.bytes() == 0) {
            wrong(
                &rate.span,
                "impossible `rate`",
                "nothing would ever arrive",
                r#"give bytes a second, such as "10MiB""#,
            );
        }
        if let Some(mtu) = self.mtu.as_ref().filter(|mtu| mtu.value < MTU) {
            wrong(
                &mtu.span,
                "impossible `mtu`",
                "out of range",
                "give at least 68 bytes",
            );
        }
    }
}

impl Degrade {
    /// What is done to what passes, in words.
    pub fn effects(&self) -> Vec<String> {
        let mut effects = Vec::new();
        let seconds = |time: Duration| format!("{} ms", time.as_millis());
        if !self.delay.is_zero() {
            let mut text = format!("{} late", seconds(self.delay));
            if !self.jitter.is_zero() {
                let _ = write!(text, " ± {}", seconds(self.jitter));
            }
            effects.push(text);
        }
        for (share, what) in [
            (self.loss, "lost"),
            (self.duplicate, "twice"),
            (self.reorder, "out of order"),
            (self.corrupt, "damaged"),
        ] {
            if share > Share::NONE {
                effects.push(format!("{share} {what}"));
            }
        }
        if let Some(rate) = self.rate {
            effects.push(format!("{rate} a second"));
        }
        if let Some(mtu) = self.mtu {
            effects.push(format!("nothing beyond {mtu} bytes"));
        }
        effects
    }
}

impl PlannedStep for Degrade {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(60)
    }

    fn fault_role(&self) -> FaultRole {
        FaultRole::Breaks
    }

    fn describe(&self) -> String {
        let (on, with) = (names(&self.on), names(&self.with));
        let way = match self.direction {
            Direction::Both => format!("between {on} and {with}"),
            Direction::Out => format!("from {on} to {with}"),
            Direction::In => format!("from {with} to {on}"),
        };
        format!(
            "degrade the network {way}{}: {}{}",
            super::on_network(self.network.as_ref()),
            self.effects().join(", "),
            super::for_a_time(self.lasts)
        )
    }
}
