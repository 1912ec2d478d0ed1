//! A run's findings as a table.

use sanlab_record::{Finding, RunRecord};

use super::run::plain;
use crate::render::findings::in_order;

/// More rows than this are for programs, which read the record.
const MOST: usize = 200;

/// A line of the table.
pub(super) struct FindingRow {
    pub(super) when: String,
    pub(super) node: String,
    pub(super) kind: String,
    pub(super) about: String,
    pub(super) times: String,
    pub(super) seen: String,
    /// Its call trace, where lines of source are known.
    pub(super) trace: String,
    pub(super) counts: bool,
    /// Of one that does not count.
    pub(super) excuse: String,
}

/// Those that are shown, and what is said of the others.
pub(super) fn of(record: &RunRecord) -> (Vec<FindingRow>, String) {
    let all = in_order(record);
    let more = all.len().saturating_sub(MOST);
    let rows = all.into_iter().take(MOST).map(|finding| FindingRow {
        when: finding.span().trim_start_matches("at ").to_owned(),
        node: finding.node.clone(),
        kind: finding.kind.to_string(),
        about: finding.about.clone().unwrap_or_default(),
        times: finding.count.to_string(),
        seen: plain(&finding.seen()),
        trace: trace(finding),
        counts: finding.excuse.is_none(),
        excuse: finding
            .excuse
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    });
    let note = if more > 0 {
        format!("{more} more in the record")
    } else {
        String::new()
    };
    (rows.collect(), note)
}

/// A line for each call.
fn trace(finding: &Finding) -> String {
    let calls = finding.trace.iter();
    let calls: Vec<String> = calls.map(|call| plain(&call.to_string())).collect();
    calls.join("\n")
}
