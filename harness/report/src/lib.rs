//! From records and history to verdicts and pages. In the pipeline this crate stands after `record` and before `lab`.
//!
//! It reads [`RunRecord`](sanlab_record::RunRecord)s and knows neither guests nor fleets. Files are read by
//! [`load`], figures are taken from records as [`series`], compared by [`comparison`] with the methods of [`statistics`] or held
//! against a committed [`baseline`], followed over time by [`trend`], kept in a [`history`], gathered in a [`report`] and shown
//! by the renderers: [`terminal`], [`markdown`], [`html`], [`junit`], [`json`], [`bencher`], [`github_action_benchmark`].
//!
//! ```
//! use sanlab_record::RunRecord;
//! use sanlab_report::load::{Loaded, LoadedRun};
//! use sanlab_report::report::Report;
//!
//! let record = RunRecord::from_json(include_str!("../../../fixtures/records/format-1.json"))?;
//! let run = LoadedRun { path: "runs/first/record.json".into(), record };
//! let loaded = Loaded { runs: vec![run], ..Loaded::default() };
//! let report = Report::new("one run", 1_180_656_900.0, loaded, &[], None);
//! assert_eq!(report.verdict, None); // nothing was compared
//! assert!(sanlab_report::markdown::render(&report).contains("runs: 1 failed"));
//! # Ok::<(), sanlab_record::ReadError>(())
//! ```

pub mod durable;
mod error;
pub mod history;
pub mod load;
mod render;
pub mod statistics;
pub mod verdict;

pub use error::{FileError, FileFault, ReportError};
pub use load::{measure, series};
pub use render::{
    bencher, chart, findings, github_action_benchmark, html, json, junit, markdown, moment, number,
    report, sparkline, table, terminal,
};
pub use verdict::{baseline, change_point, comparison, trend};
