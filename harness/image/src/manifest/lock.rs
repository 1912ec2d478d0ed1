//! The lock: name, version, architecture and SHA-256 of every package in an image.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use sanlab_plan::Arch;
use serde::Deserialize;

use crate::error::{ImageError, Product};
use crate::manifest::lock_diff::LockedPackage;
use crate::manifest::position;

/// A lock file: packages by what they are for, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) products: BTreeMap<Product, Vec<LockedPackage>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    version: String,
    architecture: String,
    sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    x86: BTreeMap<String, Entry>,
    #[serde(default)]
    x86_64: BTreeMap<String, Entry>,
    #[serde(default)]
    programs: BTreeMap<String, Entry>,
}

impl Lock {
    /// Reads a lock; one that does not exist is empty.
    pub(crate) fn load(path: &Path) -> Result<Self, ImageError> {
        match fs_err::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|(at, message)| {
                let (line, _) = position(&text, at);
                ImageError::LockText {
                    path: path.to_owned(),
                    line,
                    message,
                }
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let document: Document = toml::from_str(text).map_err(|error| {
            (
                error.span().map_or(0, |span| span.start),
                error.message().trim_end().to_owned(),
            )
        })?;
        let products = [
            (Product::Image(Arch::X86), document.x86),
            (Product::Image(Arch::X86_64), document.x86_64),
            (Product::Programs, document.programs),
        ];
        let products = products
            .into_iter()
            .filter(|(_, entries)| !entries.is_empty())
            .map(|(product, entries)| {
                let package = |(
                    name,
                    Entry {
                        version,
                        architecture,
                        sha256,
                    },
                )| LockedPackage {
                    name,
                    version,
                    architecture,
                    sha256,
                };
                (product, entries.into_iter().map(package).collect())
            })
            .collect();
        Ok(Self { products })
    }

    /// The file's text: a line a package, so that version control shows changes by package.
    pub(crate) fn render(&self, manifest: &str) -> String {
        let mut text = format!(
            "# Every package in the images of {manifest}, and what their programs are compiled by. Written by `sanlab image build --update-lock`: do not edit.\n"
        );
        for (product, packages) in &self.products {
            let section = match product {
                Product::Image(arch) => arch.as_str(),
                Product::Programs => "programs",
                Product::Headers | Product::Symbols => continue,
            };
            let _ = write!(text, "\n[{section}]\n");
            for LockedPackage {
                name,
                version,
                architecture,
                sha256,
            } in packages
            {
                let _ = writeln!(
                    text,
                    "\"{name}\" = {{ version = \"{version}\", architecture = \"{architecture}\", sha256 = \"{sha256}\" }}"
                );
            }
        }
        text
    }
}

/// What apt says of packages (`apt-cache show`), as lock entries sorted by name.
pub(crate) fn from_apt(stanzas: &str) -> Vec<LockedPackage> {
    let mut packages: Vec<_> = stanzas.split("\n\n").filter_map(from_stanza).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn from_stanza(stanza: &str) -> Option<LockedPackage> {
    let field = |name: &str| {
        stanza
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .map(|value| value.trim().to_owned())
    };
    Some(LockedPackage {
        name: field("Package")?,
        version: field("Version")?,
        architecture: field("Architecture")?,
        sha256: field("SHA256")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;
    use crate::manifest::lock_diff::LockDiff;

    fn package(name: &str, version: &str, sha256: &str) -> LockedPackage {
        LockedPackage {
            name: name.into(),
            version: version.into(),
            architecture: "amd64".into(),
            sha256: sha256.into(),
        }
    }

    #[test]
    fn prints_what_it_parses() {
        let lock = Lock {
            products: BTreeMap::from([
                (
                    Product::Image(Arch::X86),
                    vec![package("kmod", "30+20221128-1", "aa")],
                ),
                (
                    Product::Image(Arch::X86_64),
                    vec![
                        package("bash", "5.2.15-2+b7", "bb"),
                        package("libstdc++6", "12.2.0", "cc"),
                    ],
                ),
                (
                    Product::Programs,
                    vec![
                        package("libc6-dev", "2.36-9", "dd"),
                        package("libc6-dev:i386", "2.36-9", "ee"),
                    ],
                ),
            ]),
        };
        let text = lock.render("debian-bookworm.toml");
        assert_eq!(Lock::parse(&text).unwrap(), lock);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn shows_how_a_mirror_differs() {
        let locked = [
            package("gone", "1", "aa"),
            package("moved", "2.36-9+deb12u10", "bb"),
            package("same", "1", "cc"),
            package("tampered", "1.0", "dd"),
        ];
        let installed = [
            package("moved", "2.36-9+deb12u13", "b2"),
            package("new", "7", "ee"),
            package("same", "1", "cc"),
            package("tampered", "1.0", "ff"),
        ];
        assert_eq!(LockDiff::between(&locked, &locked), None);
        let error = ImageError::LockMismatch {
            path: "images/debian-bookworm.lock".into(),
            product: Product::Image(Arch::X86),
            diff: LockDiff::between(&locked, &installed).unwrap(),
        };
        insta::assert_snapshot!(error);
    }

    #[test]
    fn reads_what_apt_shows() {
        let stanza = "Package: kmod\nVersion: 30-1\nArchitecture: i386\nDescription: tools\n with a line\nSHA256: aa\n";
        let twice = format!("{stanza}\n{stanza}\nPackage: half\nVersion: 1\n");
        assert_eq!(
            from_apt(&twice),
            [LockedPackage {
                architecture: "i386".into(),
                ..package("kmod", "30-1", "aa")
            }]
        );
    }

    #[test]
    fn locks_in_the_checkout_have_what_their_manifests_name() {
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images");
        for file in fs_err::read_dir(images).unwrap() {
            let path = file.unwrap().path();
            let is_toml = path.extension().is_some_and(|ending| ending == "toml");
            if !is_toml || path.ends_with("Cargo.toml") {
                continue;
            }
            let manifest = Manifest::load(&path).unwrap();
            let lock = Lock::load(&manifest.lock_path()).unwrap();
            for (arch, wanted) in &manifest.arches {
                let locked = &lock.products[&Product::Image(*arch)];
                for package in &wanted.packages {
                    assert!(
                        locked.iter().any(|one| one.name == *package),
                        "{}: {arch}: `{package}` is missing: `sanlab image build --update-lock`",
                        manifest.lock_path().display()
                    );
                }
            }
        }
    }

    #[test]
    fn says_where_a_lock_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guest.lock");
        assert_eq!(Lock::load(&path).unwrap(), Lock::default());
        fs_err::write(&path, "[x86]\n\"kmod\" = { version = \"1\" }\n").unwrap();
        let message = Lock::load(&path).unwrap_err().to_string();
        insta::assert_snapshot!(message.replace(folder.path().to_str().unwrap(), "images"));
    }
}
