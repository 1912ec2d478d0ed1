//! `o2cb` lowered.

use std::time::Duration;

use super::check_port;
use crate::diagnostic::{Diagnostic, Mistakes};
use crate::document;
use crate::plan::O2cb;

pub(crate) fn o2cb(layer: &document::O2cb, mistakes: &mut Mistakes) -> Option<O2cb> {
    check_port(layer.port.as_ref(), mistakes);
    if let Some(threshold) = &layer.heartbeat_threshold
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
        ("idle_timeout", &layer.idle_timeout),
        ("keepalive_delay", &layer.keepalive_delay),
        ("reconnect_delay", &layer.reconnect_delay),
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
    let (idle, keepalive) = (
        layer.idle_timeout.as_ref()?,
        layer.keepalive_delay.as_ref()?,
    );
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
    Some(O2cb {
        cluster: layer.cluster.clone()?.value,
        port: layer.port.as_ref()?.value,
        heartbeat_threshold: layer.heartbeat_threshold.as_ref()?.value,
        idle_timeout: idle.value,
        keepalive_delay: keepalive.value,
        reconnect_delay: layer.reconnect_delay.as_ref()?.value,
    })
}
