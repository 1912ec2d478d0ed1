//! How steps are run, and what is done to guests between them.

#[path = "../source_digest.rs"]
mod source_digest;

fn main() {
    source_digest::export("SOURCE_DIGEST", &["src"]);
}
