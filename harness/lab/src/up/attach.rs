//! How to look inside a fleet, in the words of where it runs.

use std::path::Path;

use sanlab_fleet::Registry;

/// What to type to get a shell in a node, and where.
pub(crate) fn attach(fleet: &str, node: Option<&str>) -> String {
    let registry = Registry::of_user();
    let program = std::env::current_exe();
    let (Ok(registry), Ok(program)) = (registry, program) else {
        return in_words(fleet, node, None, &|_| None);
    };
    in_words(fleet, node, Some((&registry, &program)), &|variable| {
        std::env::var(variable).ok()
    })
}

fn in_words(
    fleet: &str,
    node: Option<&str>,
    place: Option<(&Path, &Path)>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> String {
    let node = node.unwrap_or("NODE");
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let shell = format!("shell --fleet {fleet} {node}");
    let (true, Some((registry, program))) = (is_set("CI"), place) else {
        return format!("`sanlab {shell}`, `sanlab down {fleet}`");
    };
    // Whoever comes to a runner has not the environment of its job.
    let (registry, program) = (registry.display(), program.display());
    let command = format!("`SANLAB_RUNTIME={registry} {program} {shell}`");
    if is_set("GITHUB_ACTIONS") {
        format!("in a terminal that an earlier step has opened on this runner: {command}")
    } else if is_set("GITLAB_CI") {
        format!("in the terminal that `Debug` on the page of this job opens: {command}")
    } else {
        format!("on this runner, as the user of this job: {command}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_says_how_to_come_to_it() {
        let place = Some((Path::new("/tmp/sanlab-0"), Path::new("/usr/bin/sanlab")));
        let on = |set: &[&str]| {
            let set: Vec<String> = set.iter().map(|name| (*name).to_owned()).collect();
            in_words("mount", Some("vix0"), place, &|name| {
                set.contains(&name.to_owned()).then(|| "true".to_owned())
            })
        };
        insta::assert_snapshot!(on(&[]), @"`sanlab shell --fleet mount vix0`, `sanlab down mount`");
        insta::assert_snapshot!(on(&["CI"]), @"on this runner, as the user of this job: `SANLAB_RUNTIME=/tmp/sanlab-0 /usr/bin/sanlab shell --fleet mount vix0`");
        insta::assert_snapshot!(on(&["CI", "GITHUB_ACTIONS"]), @"in a terminal that an earlier step has opened on this runner: `SANLAB_RUNTIME=/tmp/sanlab-0 /usr/bin/sanlab shell --fleet mount vix0`");
        insta::assert_snapshot!(on(&["CI", "GITLAB_CI"]), @"in the terminal that `Debug` on the page of this job opens: `SANLAB_RUNTIME=/tmp/sanlab-0 /usr/bin/sanlab shell --fleet mount vix0`");
    }
}
