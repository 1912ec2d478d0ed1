//! What a switch tells while it runs.

use std::fmt;

/// What happened in a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchEvent {
    /// A QEMU connected to the port.
    Connected {
        /// The port.
        port: String,
    },
    /// The port's connection ended, as it does when its QEMU ends.
    Disconnected {
        /// The port.
        port: String,
        /// Why.
        reason: String,
    },
    /// The port sent what cannot be a frame, and was disconnected.
    Malformed {
        /// The port.
        port: String,
        /// The frame's alleged length, bytes.
        length: u32,
    },
    /// The port's pcap file cannot be written any more; the port goes on.
    CaptureEnded {
        /// The port.
        port: String,
        /// Why.
        reason: String,
    },
    /// The switch cannot go on: all ports are dead.
    Ended {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for SwitchEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { port } => write!(f, "switch port {port} connected"),
            Self::Disconnected { port, reason } => {
                write!(f, "switch port {port} disconnected: {reason}")
            }
            Self::Malformed { port, length } => {
                write!(
                    f,
                    "switch port {port} disconnected: it sent a frame of {length} bytes"
                )
            }
            Self::CaptureEnded { port, reason } => {
                write!(f, "the capture of switch port {port} ended: {reason}")
            }
            Self::Ended { reason } => write!(f, "the switch ended: {reason}"),
        }
    }
}
