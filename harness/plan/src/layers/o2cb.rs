//! OCFS2's own cluster stack.

use std::time::Duration;

use super::{Building, LayerTable, Planned, Property, check_port, network_parameter, show};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::document::table::table;
use crate::document::word::words;
use crate::values::names::{ClusterName, NetworkName, NodeName};

table! {
    /// OCFS2's own cluster stack: who is a member, and who is still alive.
    Written, "`o2cb`", r#"{ cluster = "san" }"# {
        /// Name of the cluster, at most 16 letters and digits.
        cluster: ClusterName, required r#""nbdsan""#;
        /// TCP port of the nodes' connections with each other.
        port: u16, default 7777;
        /// The network of these connections.
        network: NetworkName, default NetworkName::main();
        /// A node is dead after (this - 1) * 2 s without a heartbeat; at least 2.
        heartbeat_threshold: u32, default 31;
        /// A connection is dead after this long without a word.
        idle_timeout: Duration, default Duration::from_secs(30);
        /// Silence before a node asks whether the other is there; less than `idle_timeout`.
        keepalive_delay: Duration, default Duration::from_secs(2);
        /// Wait before connecting again.
        reconnect_delay: Duration, default Duration::from_secs(2);
        /// How a node ends itself that must not go on: `reset` at once, or by a `panic` of its kernel.
        fence_method: FenceMethod, default FenceMethod::Reset;
    }
}

/// OCFS2's in-kernel membership: cluster.conf and the o2cb service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct O2cb {
    /// Name of the cluster.
    pub cluster: ClusterName,
    /// TCP port of o2net.
    pub port: u16,
    /// The network of these connections.
    pub network: NetworkName,
    /// `O2CB_HEARTBEAT_THRESHOLD`: a node is dead after (this - 1) * 2 s without a heartbeat.
    pub heartbeat_threshold: u32,
    /// `O2CB_IDLE_TIMEOUT_MS`.
    pub idle_timeout: Duration,
    /// `O2CB_KEEPALIVE_DELAY_MS`.
    pub keepalive_delay: Duration,
    /// `O2CB_RECONNECT_DELAY_MS`.
    pub reconnect_delay: Duration,
    /// `fence_method` in configfs.
    pub fence_method: FenceMethod,
}

words! {
    /// How o2cb fences the node that it runs on.
    pub FenceMethod, "way to fence", "ways to fence", "a way to fence", r#""reset""# {
        /// The machine is reset.
        Reset = "reset",
        /// The kernel panics.
        Panic = "panic",
    }
}

impl Planned for O2cb {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("cluster", show(&self.cluster)),
            ("port", show(&self.port)),
            ("heartbeat_threshold", show(&self.heartbeat_threshold)),
            ("idle_timeout", show(&self.idle_timeout)),
            ("keepalive_delay", show(&self.keepalive_delay)),
            ("reconnect_delay", show(&self.reconnect_delay)),
            ("fence_method", show(&self.fence_method)),
        ];
        all.extend(network_parameter(self.networks()));
        all
    }

    fn networks(&self) -> &[NetworkName] {
        std::slice::from_ref(&self.network)
    }
}

impl LayerTable for Written {
    type Planned = O2cb;
    const PROPERTIES: &'static [Property] = &[];

    fn port(&self) -> Option<&At<u16>> {
        self.port.as_ref()
    }

    fn networks(&self) -> Vec<&At<NetworkName>> {
        self.network.iter().collect()
    }

    fn lower(
        &self,
        _span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, O2cb)> {
        check_port(self.port.as_ref(), mistakes);
        if let Some(threshold) = &self.heartbeat_threshold
            && threshold.value < 2
        {
            mistakes.note(
                Diagnostic::at(
                    &threshold.span,
                    format!("impossible heartbeat threshold: {}", threshold.value),
                )
                .label("every node would be dead at once")
                .help("give at least 2; OCFS2's own default is 31, that is 60 s"),
            );
        }
        for (key, delay) in [
            ("idle_timeout", &self.idle_timeout),
            ("keepalive_delay", &self.keepalive_delay),
            ("reconnect_delay", &self.reconnect_delay),
        ] {
            if let Some(delay) = delay
                && !(Duration::from_millis(1)..=Duration::from_secs(3600)).contains(&delay.value)
            {
                mistakes.note(
                    Diagnostic::at(&delay.span, format!("impossible `{key}`"))
                        .label("out of range")
                        .help("give 1ms to 60m"),
                );
            }
        }
        let (idle, keepalive) = (self.idle_timeout.as_ref()?, self.keepalive_delay.as_ref()?);
        if keepalive.value >= idle.value {
            mistakes.note(
                Diagnostic::at(
                    &keepalive.span,
                    "`keepalive_delay` is not below `idle_timeout`",
                )
                .label("connections would end before anybody asks")
                .also(&idle.span, "the idle timeout")
                .help("give a shorter `keepalive_delay`; the defaults are 2s and 30s"),
            );
        }
        let o2cb = O2cb {
            cluster: self.cluster.clone()?.value,
            port: self.port.as_ref()?.value,
            network: self.network.clone()?.value,
            heartbeat_threshold: self.heartbeat_threshold.as_ref()?.value,
            idle_timeout: idle.value,
            keepalive_delay: keepalive.value,
            reconnect_delay: self.reconnect_delay.as_ref()?.value,
            fence_method: self.fence_method.as_ref()?.value,
        };
        building.cluster = Some(o2cb.cluster.clone());
        // Its nodes are those that have devices in the end.
        Some((Vec::new(), o2cb))
    }
}
