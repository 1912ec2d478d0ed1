//! Debug information of kernels: where it lies, how that of a distribution is fetched, and which lines of source it has for what a
//! kernel prints of its calls.

mod call;
mod fetch;
mod find;
mod functions;
mod lines;

pub use call::Call;
pub use fetch::{DebugFiles, debug_files};
pub use find::Symbols;
