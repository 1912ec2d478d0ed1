//! Plans from text.

use std::path::Path;

use sanlab_plan::{NodeName, Plan, parse};

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::parse(text).expect("valid")
}

/// A scenario with these nodes, layers and steps.
pub(crate) fn planned(nodes: &str, layers: &str, steps: &str) -> Plan {
    parsed(&format!(
        "name = \"an article\"\n{nodes}\n{layers}\n{steps}"
    ))
}

/// A whole scenario.
pub(crate) fn parsed(text: &str) -> Plan {
    match parse(Path::new("article.toml"), text) {
        Ok(plan) => plan,
        Err(mistakes) => panic!("{}", mistakes.render(false)),
    }
}
