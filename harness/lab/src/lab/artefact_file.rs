//! `--artefacts FILE`: code under test that several commands are given, in a file of its own.

use std::path::Path;

use serde::Deserialize;

use crate::LabError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    artefact: Vec<toml::Spanned<Entry>>,
}

/// As an `[[artefact]]` of a scenario, but for one scope only.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    file: Option<FileEntry>,
    deb: Option<String>,
    module: Option<String>,
    kernel: Option<String>,
    on: Option<Nodes>,
    arch: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    to: String,
    from: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Nodes {
    One(String),
    Several(Vec<String>),
}

/// The file's artefacts as settings. Their paths are taken from its folder on.
pub(crate) fn settings(file: &Path) -> Result<Vec<String>, LabError> {
    let text = fs_err::read_to_string(file).map_err(LabError::Unreadable)?;
    let wrong = |at: usize, why: String| {
        let before = text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        LabError::ArtefactFile {
            path: file.to_owned(),
            line,
            column: before[start..].chars().count() + 1,
            why,
        }
    };
    let document: Document = toml::from_str(&text).map_err(|error| {
        let at = error.span().unwrap_or(0..0).start;
        wrong(at, error.message().trim_end().to_owned())
    })?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut settings = Vec::new();
    for entry in &document.artefact {
        let all = of(entry.get_ref(), folder).map_err(|why| wrong(entry.span().start, why))?;
        settings.extend(all);
    }
    Ok(settings)
}

fn of(entry: &Entry, folder: &Path) -> Result<Vec<String>, String> {
    let scopes: Vec<&str> = match (&entry.on, &entry.arch) {
        (Some(_), Some(_)) => {
            return Err("it has both `on` and `arch`: name the nodes alone".to_owned());
        }
        (Some(Nodes::One(node)), None) => vec![node],
        (Some(Nodes::Several(nodes)), None) => nodes.iter().map(String::as_str).collect(),
        (None, Some(arch)) => vec![arch],
        (None, None) => vec![""],
    };
    let path = |path: &str| folder.join(path).display().to_string();
    let kernel = entry.kernel.as_ref().map(|kernel| {
        // A name without `/` is an image's.
        if kernel.contains('/') {
            path(kernel)
        } else {
            kernel.clone()
        }
    });
    let file = entry.file.as_ref();
    let kinds = [
        file.map(|file| ("file", path(&file.from))),
        entry.deb.as_deref().map(|deb| ("deb", path(deb))),
        entry
            .module
            .as_deref()
            .map(|module| ("module", path(module))),
        kernel.map(|kernel| ("kernel", kernel)),
    ];
    let mut kinds = kinds.into_iter().flatten();
    let (Some((word, from)), None) = (kinds.next(), kinds.next()) else {
        return Err("it needs one of `file`, `deb`, `module` and `kernel`, and no more".to_owned());
    };
    let to = file.map(|file| file.to.as_str());
    let setting = |scope: &str| match (to, scope) {
        (Some(to), "") => format!("{word}.{to}={from}"),
        (Some(to), scope) => format!("{word}.{scope}:{to}={from}"),
        (None, "") => format!("{word}={from}"),
        (None, scope) => format!("{word}.{scope}={from}"),
    };
    Ok(scopes.into_iter().map(setting).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("artefacts.toml");
        fs_err::write(&path, text).unwrap();
        let here = format!("{}/", folder.path().display());
        let short = |text: String| text.replace(&here, "");
        match settings(&path) {
            Ok(settings) => Ok(settings.into_iter().map(short).collect()),
            Err(error) => Err(short(error.to_string())),
        }
    }

    #[test]
    fn each_entry_is_a_setting_for_each_of_its_scopes() {
        let text = r#"
            artefact = [
                { file = { to = "/usr/bin/nbdkit", from = "nbdkit" }, on = ["vix0", "vix[2-3]"] },
                { deb = "a.deb" },
                { module = "linux/ocfs2.ko", arch = "x86_64" },
                { kernel = "debian-trixie", on = "vix0" },
            ]
        "#;
        assert_eq!(
            read(text).unwrap(),
            [
                "file.vix0:/usr/bin/nbdkit=nbdkit",
                "file.vix[2-3]:/usr/bin/nbdkit=nbdkit",
                "deb=a.deb",
                "module.x86_64=linux/ocfs2.ko",
                "kernel.vix0=debian-trixie",
            ]
        );
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let refused = [
            "artefact = [{ dep = \"a.deb\" }]",
            "artefact = [\n    { deb = \"a.deb\", module = \"a.ko\" },\n]",
            "artefact = [{ deb = \"a.deb\", on = \"vix0\", arch = \"x86\" }]",
            "artefact = {",
        ]
        .map(|text| read(text).unwrap_err());
        insta::assert_snapshot!(refused.join("\n"));
    }
}
