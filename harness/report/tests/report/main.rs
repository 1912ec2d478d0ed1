//! Records in, history and reports out: with records that were kept, records made up here, and files that are not what they
//! should be.

mod baseline;
mod history;
mod known;
mod load;
mod renderers;
mod sample;
