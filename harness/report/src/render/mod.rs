//! What was found out, laid out: for terminals, pages, pull requests and other programs. [`report`] is what all renderers are given.

pub(crate) mod apart;
pub mod bencher;
pub(crate) mod benchmark;
pub mod chart;
pub mod findings;
pub mod github_action_benchmark;
pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod moment;
pub mod number;
pub mod report;
pub mod sparkline;
pub mod table;
pub mod terminal;
pub(crate) mod view;
