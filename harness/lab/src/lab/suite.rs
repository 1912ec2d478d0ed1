//! The scenarios of a command, each with all that it is given, read before anything runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sanlab_plan::Plan;

use crate::lab::changes::Changes;
use crate::lab::matrix::{Axis, Variant, variants};
use crate::lab::overrides::Given;
use crate::lab::scenario;
use crate::terminal::Terminal;
use crate::{Exit, LabError};

/// The axes of a matrix on the command line.
pub(crate) fn axes(matrix: &[String]) -> Result<Vec<Axis>, LabError> {
    matrix.iter().map(|text| Axis::parse(text)).collect()
}

/// Reads all files before anything runs, each with all that it is given; `None` when a mistake was shown.
pub(crate) fn load(
    files: &[PathBuf],
    changes: &Changes,
    axes: &[Axis],
    terminal: &mut Terminal,
) -> Result<Option<Vec<(Plan, Given)>>, LabError> {
    let mut loaded = Vec::new();
    let mut sources: BTreeMap<String, &Path> = BTreeMap::new();
    let mut mistaken = false;
    for file in files {
        match variants_of(file, changes, axes) {
            Ok(variants) => {
                for (plan, given) in variants {
                    if let Some(why) = in_the_way(&sources, &plan.id, file) {
                        mistaken = true;
                        terminal.line(&why);
                    }
                    sources.insert(plan.id.clone(), file);
                    loaded.push((plan, given));
                }
            }
            Err(error) if error.exit() == Exit::BadInput => {
                mistaken = true;
                terminal.line(error.show(terminal.is_coloured()).trim_end());
            }
            Err(error) => return Err(error),
        }
    }
    Ok((!mistaken).then_some(loaded))
}

/// Why a scenario's records have no place of their own beside those of others.
fn in_the_way(sources: &BTreeMap<String, &Path>, id: &str, file: &Path) -> Option<String> {
    let lies_in = |inner: &str, outer: &str| {
        let rest = inner.strip_prefix(outer);
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let mut others = sources.iter();
    let (other, first) =
        others.find(|(other, _)| *other == id || lies_in(other, id) || lies_in(id, other))?;
    let (first, file) = (first.display(), file.display());
    let how = if other == id {
        format!("would both be kept as `{id}`")
    } else {
        format!("would be kept one within the other, as `{other}` and `{id}`")
    };
    Some(format!(
        "error: {first} and {file} {how}; rename one of them"
    ))
}

/// A scenario's variants, each with what it is given: the scenario itself, where it has none.
pub(crate) fn variants_of(
    file: &Path,
    changes: &Changes,
    axes: &[Axis],
) -> Result<Vec<(Plan, Given)>, LabError> {
    let given = changes.given()?;
    let plan = scenario::load_with(file, &given.settings)?;
    let variant = |variant: Variant| {
        let given = changes.given_with(&variant.settings)?;
        let mut plan = scenario::load_with(file, &given.settings)?;
        plan.id += &variant.suffix();
        Ok((plan, given))
    };
    let variants = variants(&plan, axes)?;
    variants.into_iter().map(variant).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_place_of_its_own() {
        let (a, b) = (Path::new("a.toml"), Path::new("a/b.toml"));
        let why =
            |first: &str, id: &str| in_the_way(&BTreeMap::from([(first.to_owned(), a)]), id, b);
        insta::assert_snapshot!(why("a", "a/b").unwrap(), @"error: a.toml and a/b.toml would be kept one within the other, as `a` and `a/b`; rename one of them");
        insta::assert_snapshot!(why("a", "a").unwrap(), @"error: a.toml and a/b.toml would both be kept as `a`; rename one of them");
        assert!(why("a/b", "a").is_some());
        assert_eq!(why("a", "ab"), None);
        assert_eq!(why("a/b", "a/c"), None);
    }
}
