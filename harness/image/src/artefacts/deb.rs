//! Debian packages: what they are, and whether an image has what they depend on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use sanlab_plan::Arch;

use super::{Part, PartKind, elf, layer};
use crate::error::ImageError;
use crate::store::image::Image;

/// Where they lie in a guest until they are installed.
const FOLDER: &str = "usr/share/sanlab/debs";

/// A package's control data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// `Pre-Depends` and `Depends`.
    depends: Vec<Dependency>,
    /// Names that it stands in for, some with a version.
    provides: Vec<Alternative>,
    /// Its files, in the guest's root and below `/usr` where that has them.
    pub(crate) files: BTreeSet<PathBuf>,
}

/// Alternatives, of which one must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dependency {
    text: String,
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Alternative {
    name: String,
    /// `>=`, and a version.
    version: Option<(String, String)>,
}

/// Reads a package's control data, unless it is for another architecture.
pub(crate) fn read(path: &Path, guest: Arch) -> Result<Package, String> {
    let fields = [
        "Package",
        "Version",
        "Architecture",
        "Pre-Depends",
        "Depends",
        "Provides",
    ];
    let mut package = parse(&dpkg_deb("--field", path, &fields)?, guest)?;
    let contents = dpkg_deb("--contents", path, &[])?;
    // The path is the sixth word, from `./` on; folders end with `/`.
    let files = contents.lines().filter_map(|line| {
        let (_, path) = line.split_once(" ./")?;
        let path = path.split(" -> ").next().unwrap_or(path);
        (!path.ends_with('/') && !path.is_empty()).then(|| layer::place(path))
    });
    package.files = files.collect();
    Ok(package)
}

/// What dpkg-deb says of a package.
fn dpkg_deb(ask: &str, path: &Path, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new("dpkg-deb");
    command.arg(ask).arg(path).args(words);
    let output = command
        .env("LC_ALL", "C.UTF-8")
        .output()
        .map_err(|error| format!("dpkg-deb cannot be started: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("it is no Debian package: {}", said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(super) fn parse(control: &str, guest: Arch) -> Result<Package, String> {
    // A value may go on in lines that begin with a space.
    let control = control.replace("\n ", " ");
    let field = |name: &str| {
        let of_name = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned());
        control.lines().find_map(of_name).unwrap_or_default()
    };
    let architecture = field("Architecture");
    if architecture != "all" && architecture != guest.debian() {
        let arch = Arch::ALL
            .into_iter()
            .find(|arch| arch.debian() == architecture);
        return Err(match arch {
            Some(arch) => elf::other(arch, guest),
            None => format!("it is for {architecture}, which no guest is"),
        });
    }
    let depends = [field("Pre-Depends"), field("Depends")];
    Ok(Package {
        name: field("Package"),
        version: field("Version"),
        depends: depends.iter().flat_map(|list| dependencies(list)).collect(),
        provides: provided(&field("Provides")),
        files: BTreeSet::new(),
    })
}

/// `libc6 (>= 2.36), perl:any | perl-base`.
fn dependencies(list: &str) -> Vec<Dependency> {
    let texts = list.split(',').map(str::trim);
    let one = |text: &str| Dependency {
        text: text.to_owned(),
        alternatives: text.split('|').map(alternative).collect(),
    };
    texts.filter(|text| !text.is_empty()).map(one).collect()
}

/// The names of a list, each with its version if it has one.
fn provided(list: &str) -> Vec<Alternative> {
    let all = dependencies(list).into_iter();
    all.flat_map(|one| one.alternatives).collect()
}

fn alternative(text: &str) -> Alternative {
    let (name, version) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => {
            let rest = rest.trim_end().trim_end_matches(')').trim();
            let relation = rest.find(|c: char| !"<>=".contains(c)).unwrap_or(0);
            let (relation, version) = rest.split_at(relation);
            let version = version.trim().to_owned();
            (name, Some((relation.to_owned(), version)))
        }
    };
    // `perl:any` is there for any architecture's sake.
    let name = name.trim().split(':').next().unwrap_or_default();
    Alternative {
        name: name.to_owned(),
        version,
    }
}

impl Alternative {
    /// Of a list of provided names: the name, and the version.
    fn provided(&self) -> (&str, Option<&str>) {
        let version = self.version.as_ref();
        (&self.name, version.map(|(_, version)| version.as_str()))
    }
}

/// Refuses packages that need what neither the image has nor another of them brings.
pub(crate) fn check_dependencies(parts: &[Part], image: &Image) -> Result<(), ImageError> {
    let packages: Vec<&Package> = parts
        .iter()
        .filter_map(|part| part.package.as_ref())
        .collect();
    let mut there: Vec<(&str, Option<&str>)> = Vec::new();
    for package in &packages {
        there.push((&package.name, Some(&package.version)));
        there.extend(package.provides.iter().map(Alternative::provided));
    }
    for package in &image.packages {
        // A given one takes its place.
        if packages.iter().all(|given| given.name != package.name) {
            there.push((&package.name, Some(&package.version)));
        }
    }
    let of_image = provided(&image.provides.join(","));
    there.extend(of_image.iter().map(Alternative::provided));
    for part in parts {
        let Some(package) = &part.package else {
            continue;
        };
        let mut missing = Vec::new();
        for dependency in &package.depends {
            let mut met = false;
            for alternative in &dependency.alternatives {
                met = met || is_met(alternative, &there)?;
            }
            if !met {
                missing.push(told(dependency, &there));
            }
        }
        if !missing.is_empty() {
            return Err(ImageError::Artefact {
                artefact: format!("deb {}", part.laid.name),
                reason: format!(
                    "it depends on {}\n  help: give the packages that are missing as well, or one that was built for the image's \
                     release of Debian",
                    missing.join(", ")
                ),
            });
        }
    }
    Ok(())
}

/// The dependency, and the version that is there instead.
fn told(dependency: &Dependency, there: &[(&str, Option<&str>)]) -> String {
    let names = dependency.alternatives.iter().map(|one| one.name.as_str());
    let found: Vec<String> = names
        .filter_map(|name| {
            let (_, version) = there.iter().find(|(other, _)| *other == name)?;
            version.map(|version| format!("{name} {version}"))
        })
        .collect();
    if found.is_empty() {
        format!(
            "{}, which neither the image nor a given package has",
            dependency.text
        )
    } else {
        format!("{}; the image has {}", dependency.text, found.join(" and "))
    }
}

fn is_met(wanted: &Alternative, there: &[(&str, Option<&str>)]) -> Result<bool, ImageError> {
    for (name, version) in there {
        if *name != wanted.name {
            continue;
        }
        let fits = match (&wanted.version, version) {
            (None, _) => true,
            (Some((relation, wanted)), Some(version)) => compare(version, relation, wanted)?,
            // A name that is provided without a version meets no demand of one.
            (Some(_), None) => false,
        };
        if fits {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a version stands in that relation to another, by dpkg's rules.
fn compare(version: &str, relation: &str, other: &str) -> Result<bool, ImageError> {
    let status = Command::new("dpkg")
        .args(["--compare-versions", version, relation, other])
        .status()?;
    Ok(status.success())
}

/// Where the package lies in the guest.
pub(crate) fn place(name: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{name}.deb"))
}

/// The script that installs the packages of a layer.
pub(crate) fn setup(parts: &[Part]) -> String {
    if parts.iter().any(|part| part.kind == PartKind::Deb) {
        INSTALL.to_owned()
    } else {
        String::new()
    }
}

/// Their scripts run, but start no services: layers do that. The documentation that images leave out is left out here as well.
const INSTALL: &str = r"if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
fi
DEBIAN_FRONTEND=noninteractive /usr/bin/dpkg --install --force-confnew --force-unsafe-io \
    --path-exclude='/usr/share/doc/*' --path-exclude='/usr/share/man/*' --path-exclude='/usr/share/locale/*' \
    /usr/share/sanlab/debs/*.deb >&2 || exit 1
";

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "Package: ocfs2-tools\nVersion: 1.8.8-1\nArchitecture: amd64\nPre-Depends: debconf (>= 0.5) | debconf-2.0\n\
        Depends: libc6 (>= 2.36), perl:any\nProvides: o2cb (= 1.8.8)\n";

    #[test]
    fn control_data_is_read() {
        let package = parse(CONTROL, Arch::X86_64).unwrap();
        insta::assert_debug_snapshot!(package);
        let error = parse(CONTROL, Arch::X86).unwrap_err();
        assert!(error.contains("it is for x86_64"), "{error}");
        let error = parse(&CONTROL.replace("amd64", "arm64"), Arch::X86).unwrap_err();
        assert_eq!(error, "it is for arm64, which no guest is");
    }

    #[test]
    fn versions_are_compared_as_dpkg_does() {
        let there = [
            ("libc6", Some("2.36-9+deb12u13")),
            ("mail-transport-agent", None),
        ];
        let met = |text: &str| {
            let alternatives = &dependencies(text)[0].alternatives;
            alternatives.iter().any(|one| is_met(one, &there).unwrap())
        };
        assert!(met("libc6 (>= 2.36)") && met("libc6") && met("perl | libc6 (<< 2.37)"));
        assert!(met("mail-transport-agent") && !met("mail-transport-agent (>= 1)"));
        assert!(!met("libc6 (>= 2.38)") && !met("perl:any"));
        let told = told(&dependencies("libc6 (>= 2.38)")[0], &there);
        assert_eq!(told, "libc6 (>= 2.38); the image has libc6 2.36-9+deb12u13");
    }
}
