//! Plans from text, and stacks shown as text.

use std::fmt::Write as _;
use std::path::Path;

use sanlab_plan::{NodeName, Plan, parse};
use sanlab_stack::{Stage, Work};

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::parse(text).expect("valid")
}

/// A scenario with these nodes, layers and steps.
pub(crate) fn planned(nodes: &str, layers: &str, steps: &str) -> Plan {
    let text = format!("name = \"an article\"\n{nodes}\n{layers}\n{steps}");
    match parse(Path::new("article.toml"), &text) {
        Ok(plan) => plan,
        Err(mistakes) => panic!("{}", mistakes.render(false)),
    }
}

/// What `work` does; nodes with the same text share one entry.
pub(crate) fn show(work: &Work) -> String {
    let mut text = format!("# {}: {}\n", work.kind, work.title);
    for stage in &work.stages {
        show_stage(&mut text, stage);
    }
    let mut probes: Vec<(String, Vec<&str>)> = Vec::new();
    for probe in &work.probes {
        let body = format!(
            "until {} (deadline {:?})\n{}-> {}\n",
            probe.title,
            probe.deadline,
            probe.script,
            probe.expect.0.join("\n-> ")
        );
        group(&mut probes, body, probe.node.as_str());
    }
    for (body, nodes) in probes {
        let _ = write!(text, "\n--- probe on {}: {body}", nodes.join(" "));
    }
    text
}

fn show_stage(text: &mut String, stage: &Stage) {
    let _ = write!(text, "\n=== stage: {}\n", stage.title);
    let mut tasks: Vec<(String, Vec<&str>)> = Vec::new();
    for task in &stage.tasks {
        let mut body = format!("{} (deadline {:?})\n", task.title, task.deadline);
        for file in &task.files {
            let _ = write!(body, "> {} {:o}\n{}<\n", file.path, file.mode, file.text);
        }
        body += &task.script;
        group(&mut tasks, body, task.node.as_str());
    }
    for (body, nodes) in tasks {
        let _ = write!(text, "--- {}: {body}", nodes.join(" "));
    }
}

fn group<'a>(groups: &mut Vec<(String, Vec<&'a str>)>, body: String, node: &'a str) {
    match groups.iter_mut().find(|(other, _)| *other == body) {
        Some((_, nodes)) => nodes.push(node),
        None => groups.push((body, vec![node])),
    }
}

pub(crate) fn show_all(works: &[Work]) -> String {
    works.iter().map(show).collect::<Vec<_>>().join("\n")
}
