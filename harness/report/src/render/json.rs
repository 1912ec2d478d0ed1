//! A report for other programs: everything that the other forms show, and the figures that it was made from.

use serde::Serialize;

use crate::load::series::Figures;
use crate::render::report::Report;

/// Version of the document's shape, its field `format`.
pub const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    #[serde(flatten)]
    report: &'a Report,
    /// What the runs say, one entry a run and series.
    figures: Vec<Figures>,
}

/// One JSON object: `format`, the fields of [`Report`], and `figures`.
pub fn render(report: &Report) -> String {
    let document = Document {
        format: FORMAT,
        report,
        figures: report.figures(),
    };
    // Maps with string keys and plain numbers: nothing in it can fail to serialise. What is no finite number becomes null.
    let mut text = serde_json::to_string_pretty(&document).expect("a report is plain data");
    text.push('\n');
    text
}
