//! What a terminal shows.

use sanlab_report::terminal::{comparison_table, report_table};

use crate::gathered;

pub(crate) fn tables_for_a_terminal() {
    let mut report = gathered::report();
    insta::assert_snapshot!(comparison_table(&report.comparisons[1].comparison));
    // The comparisons' own runs would only make it long.
    let is_alone = |name: &str| !name.starts_with("throughput");
    report.runs.retain(|run| is_alone(&run.record.scenario));
    report.comparisons.truncate(1);
    report.verdict = Some(report.comparisons[0].comparison.verdict);
    insta::assert_snapshot!(report_table(&report));
}
