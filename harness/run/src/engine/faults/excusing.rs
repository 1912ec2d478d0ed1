//! What steps have broken and mended, with times: it is not waited for, and it excuses what follows from it.

use sanlab_plan::{LayerKind, NetworkName, NodeName, Outage, Plan};
use sanlab_record::Excuse;
use serde::{Deserialize, Serialize};

/// Seconds after a fault's end in which kernels may still complain of it: lines are on their way, requests wait for their
/// time-outs.
const LATE: f64 = 2.0;

/// Seconds after which a connection tries again at the latest that was cut off for long (`TCP_RTO_MAX`).
const LATEST_TRY: f64 = 120.0;

/// Something that is or was broken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    pub(crate) node: NodeName,
    pub(crate) what: Broken,
    /// What is said of that which follows from it.
    pub(crate) excuse: Excuse,
    /// Seconds since the run began; 0 in a run that was forked after that.
    pub(crate) from: f64,
    /// Until when; nothing: it goes on.
    pub(crate) until: Option<f64>,
}

/// What of a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Broken {
    /// All of it.
    Down {
        /// When it got its power back: what it says from then on is said by another machine.
        powered: Option<f64>,
    },
    /// A process that a step stopped.
    Process {
        /// The program's name.
        name: String,
        /// The layer whose daemon it is there, if it is one's.
        layer: Option<LayerKind>,
        /// It stands still, and goes on when it is told to; otherwise it was ended.
        paused: bool,
    },
    /// Its connections with these nodes: they do not reach it, nor it them.
    CutOff {
        /// The others.
        from: Vec<NodeName>,
        /// On which networks.
        networks: Vec<NetworkName>,
    },
    /// Its own disk: requests fail.
    Disk,
    /// All that it serves, as a step expects.
    Served {
        /// The expectation's number, unless the loss of the node is expected.
        expectation: Option<usize>,
    },
}

/// A stopped process as a checkpoint keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptStopped {
    pub(crate) node: String,
    pub(crate) process: String,
    pub(crate) paused: bool,
    pub(crate) by_step: String,
}

/// Everything that was broken so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Faults(Vec<Fault>);

impl Fault {
    /// It begins.
    pub(crate) const fn new(node: NodeName, what: Broken, excuse: Excuse, from: f64) -> Self {
        Self {
            node,
            what,
            excuse,
            from,
            until: None,
        }
    }

    /// Whether what is seen at that time may follow from it.
    pub(crate) fn reaches(&self, at: f64) -> bool {
        self.reaches_later(at, 0.0)
    }

    /// The same, where what was lost may be missed so many seconds later.
    pub(crate) fn reaches_later(&self, at: f64, later: f64) -> bool {
        self.from <= at
            && self
                .until
                .is_none_or(|until| at <= until + self.late(until) + later)
    }

    /// How long after its end it may still be felt. TCP tries again after twice the time each time: who was cut off for some time
    /// may not know for as long again that it no longer is.
    fn late(&self, until: f64) -> f64 {
        match self.what {
            Broken::CutOff { .. } => LATE + (until - self.from).clamp(0.0, LATEST_TRY),
            Broken::Down { .. } | Broken::Process { .. } | Broken::Disk | Broken::Served { .. } => {
                LATE
            }
        }
    }

    /// Whether `node` can be harmed by it.
    pub(crate) fn concerns(&self, node: &NodeName) -> bool {
        match &self.what {
            Broken::CutOff { from, .. } => from.contains(node),
            Broken::Down { .. } | Broken::Process { .. } | Broken::Disk | Broken::Served { .. } => {
                true
            }
        }
    }

    /// The one layer that it is about.
    pub(crate) const fn layer(&self) -> Option<LayerKind> {
        match &self.what {
            Broken::Process { layer, .. } => *layer,
            Broken::Down { .. } | Broken::CutOff { .. } | Broken::Disk | Broken::Served { .. } => {
                None
            }
        }
    }

    /// Whether it goes on at that time.
    pub(crate) fn lasts(&self, at: f64) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }

    /// Whether it takes anything away from anybody: a program of no layer does not.
    pub(crate) const fn harms(&self) -> bool {
        !matches!(self.what, Broken::Process { layer: None, .. })
    }

    /// Whether the bytes on its node's own disk cannot be reached.
    pub(crate) fn hides_the_disk(&self) -> bool {
        match self.layer() {
            Some(layer) => layer.serves_disks(),
            None => self.harms(),
        }
    }

    const fn is_open(&self) -> bool {
        self.until.is_none()
    }
}

impl Faults {
    /// Something breaks. Gives the fault's number.
    pub(crate) fn begins(&mut self, fault: Fault) -> usize {
        self.0.push(fault);
        self.0.len() - 1
    }

    /// What was to break did not, or not as it was to: it excuses nothing that is seen from now on.
    pub(crate) fn withdraws(&mut self, number: usize) {
        if let Some(fault) = self.0.get_mut(number) {
            fault.until = Some(f64::NEG_INFINITY);
        }
    }

    /// All processes of that name on `node` are stopped in another way, which is that fault.
    pub(crate) fn replaced(&mut self, number: usize, node: &NodeName, process: &str, at: f64) {
        let newest = self.0.split_off(number);
        self.goes_on(node, process, at);
        self.0.extend(newest);
    }

    /// All processes of that name on `node` go on.
    pub(crate) fn goes_on(&mut self, node: &NodeName, process: &str, at: f64) {
        self.end(at, |fault| {
            let is_it = matches!(&fault.what, Broken::Process { name, .. } if name == process);
            is_it && fault.node == *node
        });
    }

    /// A layer's daemons were started again on `node`.
    pub(crate) fn started(&mut self, node: &NodeName, started: LayerKind, at: f64) {
        self.end(at, |fault| {
            let is_it = match &fault.what {
                Broken::Process { layer, .. } => *layer == Some(started),
                Broken::Served { .. } => started.serves_disks(),
                Broken::Down { .. } | Broken::CutOff { .. } | Broken::Disk => false,
            };
            is_it && fault.node == *node
        });
    }

    /// The network is whole again, or the disks are, that the step of that label broke.
    pub(crate) fn whole_again(&mut self, by_step: &str, at: f64) {
        self.end(at, |fault| {
            let is_it = matches!(&fault.excuse, Excuse::Fault { step, .. } if step == by_step);
            is_it && matches!(fault.what, Broken::CutOff { .. } | Broken::Disk)
        });
    }

    /// `node` gets its power back.
    pub(crate) fn powered(&mut self, node: &NodeName, at: f64) {
        for fault in self.0.iter_mut().filter(|fault| fault.node == *node) {
            if let Broken::Down { powered } = &mut fault.what {
                powered.get_or_insert(at);
            }
        }
    }

    /// `node` has booted anew. Until [`Faults::mended`] others may still miss it.
    pub(crate) fn booted(&mut self, node: &NodeName, at: f64) {
        self.end(at, |fault| {
            let of_boot = matches!(fault.what, Broken::Process { .. } | Broken::Disk);
            fault.node == *node && of_boot
        });
    }

    /// Nothing is broken on `node` itself any more.
    pub(crate) fn mended(&mut self, node: &NodeName, at: f64) {
        self.end(at, |fault| {
            fault.node == *node && !matches!(fault.what, Broken::CutOff { .. })
        });
    }

    /// The layers that lack daemons, by node.
    pub(crate) fn layers(&self) -> Vec<(NodeName, LayerKind)> {
        let open = self.0.iter().filter(|fault| fault.is_open());
        open.filter_map(|fault| Some((fault.node.clone(), fault.layer()?)))
            .collect()
    }

    /// All of them, the first first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// What fails of the node of a fault, as far as `node` is concerned: of those that cut them off from each other, and that `felt`
    /// holds for, all together.
    pub(crate) fn outage(
        &self,
        plan: &Plan,
        fault: &Fault,
        node: &NodeName,
        felt: impl Fn(&Fault) -> bool,
    ) -> Outage {
        if !matches!(fault.what, Broken::CutOff { .. }) {
            return fault.layer().map_or(Outage::Whole, Outage::Layer);
        }
        let between = |one: &&Fault| one.node == fault.node && one.concerns(node) && felt(one);
        let cuts = self.0.iter().filter(between);
        let lost: Vec<NetworkName> = cuts
            .filter_map(|cut| match &cut.what {
                Broken::CutOff { networks, .. } => Some(networks),
                _ => None,
            })
            .flatten()
            .cloned()
            .collect();
        let mut networks = plan.networks.iter();
        if networks.all(|network| lost.contains(&network.name)) {
            return Outage::Whole;
        }
        Outage::Networks(lost)
    }

    /// The processes that are stopped, for a checkpoint.
    pub(crate) fn kept(&self) -> Vec<KeptStopped> {
        let open = self.0.iter().filter(|fault| fault.is_open());
        let kept = open.filter_map(|fault| match (&fault.what, &fault.excuse) {
            (Broken::Process { name, paused, .. }, Excuse::Fault { step, .. }) => {
                Some(KeptStopped {
                    node: fault.node.to_string(),
                    process: name.clone(),
                    paused: *paused,
                    by_step: step.clone(),
                })
            }
            _ => None,
        });
        kept.collect()
    }

    fn end(&mut self, at: f64, which: impl Fn(&Fault) -> bool) {
        for fault in self.0.iter_mut().filter(|fault| fault.is_open()) {
            if which(fault) {
                fault.until = Some(at);
            }
        }
    }
}
