//! Verdicts against known truth: comparisons of made-up runs, judged after every pair as real ones are, under noise of five
//! kinds, with no effect and with known ones. Seeds are fixed: the tables are the same on every machine, and what they must not
//! exceed is asserted beside them.

mod change_points;
mod counted;
mod family;
mod figures;
mod intervals;
mod noise;
mod play;
mod sides;
mod timed;
