//! What is done with guests that neither a command line nor a script tells.

#[path = "../source_digest.rs"]
mod source_digest;

fn main() {
    source_digest::export("SOURCE_DIGEST", &["src", "../vm/src"]);
}
