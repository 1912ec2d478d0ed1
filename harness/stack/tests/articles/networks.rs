//! What layers write that are not on the first network.

use sanlab_stack::{Stage, compose};

use crate::fixture::planned;

const NODES: &str = r#"
networks = { cluster = {}, pair = { on = ["a", "b"], subnet = "192.168.7.0/24" } }
nodes = { a = { arch = "x86" }, b = { arch = "x86" }, c = { arch = "x86" } }
"#;

const LAYERS: &str = r#"
layer = [
    { membership = { cluster = "all", network = ["cluster", "main"], token = "3s" } },
    { drbd = { resource = "r0", on = ["a", "b"], disk = "64MiB", network = "pair" } },
    { gnbd = { clients = "c", export = "{node}", network = "cluster" } },
    { multipath = {} },
    { o2cb = { cluster = "san", network = "cluster" } },
    { ocfs2 = { slots = 1, at = "/mnt/san" } },
]
"#;

/// The lines of files and scripts with any of these words, each once.
fn lines(stages: &[Stage], words: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for task in stages.iter().flat_map(|stage| &stage.tasks) {
        let texts = task.files.iter().map(|file| file.text.as_str());
        for line in texts.chain([task.script.as_str()]).flat_map(str::lines) {
            let line = line.trim().to_owned();
            if words.iter().any(|word| line.contains(word)) && !found.contains(&line) {
                found.push(line);
            }
        }
    }
    found
}

#[test]
fn each_layer_names_the_addresses_of_its_network() {
    let stack = compose(&planned(NODES, LAYERS, ""));
    let words = [
        "_addr:",
        "address",
        "linknumber",
        "knet_ping_",
        "for server in",
    ];
    let told: Vec<String> = stack
        .up()
        .iter()
        .flat_map(|work| {
            let lines = lines(&work.stages, &words).into_iter();
            lines.map(|line| format!("{}: {line}", work.kind))
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}
