//! What the page says, as far as its text alone tells.

use sanlab_record::{Outcome, RunRecord};
use sanlab_report::html;

use crate::{gathered, made_up};

/// The place of a text, which must be there.
fn place(page: &str, text: &str) -> usize {
    page.find(text)
        .unwrap_or_else(|| panic!("`{text}` is not on the page"))
}

pub(crate) fn verdicts_come_first() {
    let report = gathered::report();
    let page = html::render(&report);
    let verdict = place(&page, "id=\"verdict\"");
    let cards = place(&page, "id=\"verdicts\"");
    let first = place(&page, "<section id=\"comparison-1\"");
    let runs = place(&page, "<section id=\"runs\"");
    assert!(verdict < cards && cards < first && first < runs);
    assert!(
        page[verdict..cards].contains("regressed"),
        "{}",
        &page[verdict..cards]
    );
    // The gravest is the first card, though it is the second comparison.
    let slow = place(&page[cards..], "href=\"#comparison-2\"");
    let same = place(&page[cards..], "href=\"#comparison-1\"");
    assert!(slow < same);
    for judgement in &report.comparisons[1].comparison.judgements {
        place(&page, judgement.measure.title());
    }
    place(&page, gathered::MEASURE.unit());
    place(&page, "mtu=65000 → mtu=1500");
}

pub(crate) fn a_failure_is_told_whole() {
    let page = html::render(&gathered::of_runs("one", vec![made_up::failed()]));
    place(&page, "failed in step its paths have failed");
    place(&page, "size=100M features=");
    // The console's last line, without its colours.
    place(
        &page,
        "Kernel panic - not syncing: hung_task: blocked tasks</pre>",
    );
    assert!(!page.contains('\u{1b}'));
}

pub(crate) fn a_failed_run_is_in_the_headline() {
    let page = html::render(&gathered::report());
    let head = &page[..place(&page, "<main")];
    assert!(
        head.contains("regressed, 1 run failed, 1 known failure"),
        "{head}"
    );
}

pub(crate) fn a_known_failure_says_why_and_where_that_is_reported() {
    let page = html::render(&gathered::of_runs("one", vec![made_up::known_failure()]));
    place(&page, "<section id=\"run-1\" class=\"run known_failure\">");
    place(&page, "known failure in step verify");
    place(
        &page,
        "a flush does not wait for the last write of the peer",
    );
    let link = made_up::REPORTED.replace('&', "&#38;");
    place(
        &page,
        &format!("<a href=\"{link}\" rel=\"noreferrer\">{link}</a>"),
    );
    // Its card says why, and its outcome has a class that the style knows.
    place(&page, "<a class=\"card known_failure\" href=\"#run-1\">");
    place(&page, ".badge.known_failure {");
    let mut elsewhere = made_up::known_failure();
    if let Outcome::KnownFailure { known, .. } = &mut elsewhere.outcome {
        "commit 0123456789ab".clone_into(&mut known.source);
    }
    let page = html::render(&gathered::of_runs("one", vec![elsewhere]));
    place(&page, "commit 0123456789ab");
    assert!(!page.contains("rel=\"noreferrer\""));
}

pub(crate) fn findings_stand_in_a_table() {
    let record = made_up::known_failure();
    let page = html::render(&gathered::of_runs("one", vec![record.clone()]));
    let table = &page[place(&page, "<table class=\"plain findings\">")..];
    let table = &table[..place(table, "</table>")];
    assert_eq!(table.matches("<tr>").count(), 1 + record.findings.len());
    // What counts comes first, though it came later.
    assert!(place(table, "<b>counts</b>") < place(table, "excused: "));
    assert!(place(table, "dm-12") < place(table, "nbd0"));
    for text in [
        "30.2-33.9 s",
        "1482",
        "excused: follows from step the power of the first storage is cut on vb",
        "excused: expected by step pull",
        "layer drbd: r0: connection StandAlone",
    ] {
        place(table, text);
    }
    let page = html::render(&gathered::of_runs("one", vec![made_up::hot_addition()]));
    assert!(!page.contains("<h3>Findings"), "there are none");
}

pub(crate) fn what_happened_is_drawn() {
    let page = html::render(&gathered::of_runs("one", vec![made_up::hot_addition()]));
    place(&page, "ve: answered after 1.1 s");
    place(&page, "o2dlm: Node 4 joins domain");
    place(&page, "written and read, MiB/s");
    place(&page, "sent into the switch, MiB/s");
    place(&page, "host CPUs in use, by node");
    place(&page, "class=\"band\"");
    place(&page, "with the newcomers +12 %");
    // Drawn for a desk and for a phone.
    assert_eq!(page.matches("class=\"chart activity\"").count(), 2);
    assert_eq!(page.matches("class=\"chart phases\"").count(), 2);
}

/// Those that are kept in the repository: one of each format.
pub(crate) fn kept_records() -> Vec<RunRecord> {
    [
        include_str!("../../../../fixtures/records/format-1.json"),
        include_str!("../../../../fixtures/records/throughput.json"),
    ]
    .map(|text| RunRecord::from_json(text).expect("a record of a format that is known"))
    .to_vec()
}

pub(crate) fn every_kept_record_is_shown() {
    let records = kept_records();
    let count = records.len();
    let page = html::render(&gathered::of_runs("kept records", records));
    assert_eq!(page.matches("<section id=\"run-").count(), count);
}

pub(crate) fn an_empty_report_says_so() {
    let page = html::render(&gathered::of_runs("nothing", Vec::new()));
    place(&page, "nothing was run");
    assert!(!page.contains("<section"));
}
