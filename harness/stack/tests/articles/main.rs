//! What the stack would do in the fleets of the two articles, text by text.

mod first;
mod ground;
mod second;
