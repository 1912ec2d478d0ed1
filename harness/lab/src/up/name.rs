//! What fleets that are up are called: a part of a socket's name, and a word on the command line.

use sanlab_plan::Plan;

/// The longest name, bytes.
const LONGEST: usize = 40;

fn fits(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_".contains(c)
}

/// One that somebody has chosen.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > LONGEST || !text.chars().all(fits) {
        return Err(format!(
            "a name is made of letters, digits, `-` and `_`, {LONGEST} at most"
        ));
    }
    Ok(text.to_owned())
}

/// Of a fleet that nobody has named: the name of its scenario's file, or of its variant, with `-` for what no name has.
pub(crate) fn of(plan: &Plan) -> String {
    of_id(&plan.id)
}

fn of_id(id: &str) -> String {
    let (_, name) = id.rsplit_once('/').unwrap_or(("", id));
    let fitting = name.chars().map(|c| if fits(c) { c } else { '-' });
    fitting.take(LONGEST).collect()
}

/// Of a further fleet of that name: `mount-2`.
pub(crate) fn numbered(name: &str, number: u32) -> String {
    let end = format!("-{number}");
    let begin: String = name.chars().take(LONGEST - end.len()).collect();
    begin + &end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(parse("two_nodes-2").is_ok());
        assert!(parse("../x").is_err() && parse("").is_err());
        insta::assert_snapshot!(parse(&"x".repeat(41)).unwrap_err(), @"a name is made of letters, digits, `-` and `_`, 40 at most");
    }

    #[test]
    fn whatever_a_scenario_is_called_its_fleet_has_a_name() {
        assert_eq!(of_id("throughput/two-nodes"), "two-nodes");
        assert_eq!(of_id("mount"), "mount");
        assert_eq!(of_id("a/mount[mtu=1500]"), "mount-mtu-1500-");
        let long = of_id(&format!("a/{}", "äb".repeat(40)));
        assert!(parse(&long).is_ok(), "{long}");
        assert_eq!(numbered("mount", 2), "mount-2");
        let further = numbered(&long, 999);
        assert!(parse(&further).is_ok() && further.ends_with("-999"));
    }
}
