//! Charts as SVG texts. Pure, and of a report's own: plain figures in, an element to put into a page out.
//!
//! Every chart is drawn for a width in CSS pixels at which its texts are as large as the page's small print, and has neither
//! colours nor fonts: its marks have classes, to which the page's style sheet gives both, for each theme. What is written into
//! a chart is escaped here; a figure that is no finite number, or far too large, is drawn at the chart's edge.
//!
//! - [`spread`]: the figures of two sides as dots, with their means.
//! - [`interval`]: one ratio with its interval, between the bounds of what would be no change.
//! - [`pairs`]: the ratios of pairs, in their order.
//! - [`trend`]: a series run by run, with its window and its change points.
//! - [`phases`]: a run's stretches as bars.
//! - [`activity`]: CPU and network over time: panels above each other on one time axis, with events drawn through all of them.
//! - [`sparkline`]: figures in a table's cell.

pub mod activity;
pub mod interval;
mod lanes;
mod number;
pub mod pairs;
pub mod phases;
mod scale;
pub mod sparkline;
pub mod spread;
mod svg;
pub mod trend;

pub use number::moment;
pub use svg::escape;

/// How many colours there are for nodes, steps and the like; a page's style sheet has classes `hue0` to `hue7`.
pub const HUES: usize = 8;
