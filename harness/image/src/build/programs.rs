//! The guests' programs that are crates of ours, as an entry of the store.

use sanlab_plan::Arch;
use serde::{Deserialize, Serialize};

use crate::build::compiler;
use crate::build::mmdebstrap::{self, Isolation};
use crate::build::progress::Phase;
use crate::error::{ImageError, Product};
use crate::manifest::lock;
use crate::manifest::lock_diff::LockedPackage;
use crate::manifest::sources::Sources;
use crate::manifest::{Manifest, Programs};
use crate::store::claim::Claim;
use crate::store::held::Held;
use crate::store::key::programs_key;

/// What mmdebstrap and the hook print when a phase begins.
const MARKS: [(&str, Phase); 2] = [
    ("I: running apt-get update", Phase::Compiler),
    ("sanlab-phase: compile", Phase::Compile),
];

/// What the entry's files do not say themselves.
#[derive(Debug, Serialize, Deserialize)]
struct Label {
    /// For listings.
    about: String,
}

/// The file of an entry that has the programs of that architecture.
pub(crate) fn archive(arch: Arch) -> String {
    format!("{arch}.tar")
}

/// What is to be compiled.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    manifest: &'a Manifest,
    programs: &'a Programs,
    sources: Sources,
}

impl<'a> Wanted<'a> {
    /// `None`: the manifest wants no programs.
    pub(crate) fn of(manifest: &'a Manifest) -> Result<Option<Self>, ImageError> {
        let Some(programs) = &manifest.programs else {
            return Ok(None);
        };
        let sources = Sources::read(programs)?;
        Ok(Some(Self {
            manifest,
            programs,
            sources,
        }))
    }

    /// The key of what comes out when these packages compile it.
    pub(crate) fn key(&self, compiler: &[LockedPackage]) -> String {
        programs_key(self.manifest, self.programs, compiler, &self.sources)
    }

    /// `accept` judges the packages of the compiler and gives the key of the result.
    pub(crate) fn compile(
        &self,
        claim: &Claim,
        on_phase: impl Fn(Phase),
        accept: impl FnOnce(&[LockedPackage]) -> Result<String, ImageError>,
    ) -> Result<Held, ImageError> {
        let (source, out, entry) = (claim.workspace()?, claim.workspace()?, claim.workspace()?);
        self.sources.write(source.path())?;
        let isolation = Isolation::of_this_process();
        let mirror = self.manifest.mirror();
        let argv = compiler::argv(
            self.manifest,
            self.programs,
            mirror.as_deref(),
            isolation,
            source.path(),
            out.path(),
        );
        mmdebstrap::run(
            &argv,
            compiler::environment(self.programs),
            isolation,
            out.path(),
            (self.manifest, Product::Programs),
            &MARKS,
            on_phase,
        )?;
        let key = accept(&installed(&fs_err::read_to_string(
            out.path().join("packages"),
        )?))?;
        for arch in Arch::ALL {
            let name = archive(arch);
            fs_err::rename(out.path().join(&name), entry.path().join(&name))?;
        }
        let names = self
            .programs
            .crates
            .iter()
            .filter_map(|path| path.file_name());
        let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
        let about = names.join(", ");
        entry.publish_as(&key, &Label { about })
    }
}

/// What apt says of the compiler's packages. Those of the other architecture are called as apt calls them, since there may
/// be two of a name.
fn installed(stanzas: &str) -> Vec<LockedPackage> {
    let mut packages = lock::from_apt(stanzas);
    for package in &mut packages {
        if package.architecture == Arch::X86.debian() {
            package.name = format!("{}:{}", package.name, package.architecture);
        }
    }
    packages.sort_unstable();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_both_architectures_have_names_of_their_own() {
        let stanza = |architecture: &str| {
            format!(
                "Package: libc6-dev\nVersion: 2.36\nArchitecture: {architecture}\nSHA256: aa\n\n"
            )
        };
        let packages = installed(&(stanza("i386") + &stanza("amd64")));
        let names: Vec<_> = packages
            .iter()
            .map(|package| package.name.as_str())
            .collect();
        assert_eq!(names, ["libc6-dev", "libc6-dev:i386"]);
    }
}
