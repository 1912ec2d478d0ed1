//! What a run is given in place of what its scenario's file says: `KEY=VALUE` from the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sanlab_plan::{Arch, Setting};

use crate::LabError;

/// Keys that are the lab's and not the plan's.
const KERNEL: &str = "kernel";
const QEMU: &str = "qemu";

/// What is given to a side, or to a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Given {
    /// Settings of the plan, in the order they were given.
    pub(crate) settings: Vec<Setting>,
    /// A kernel in place of the image's, by architecture; `None` of all that the plan has.
    pub(crate) kernels: BTreeMap<Option<Arch>, PathBuf>,
    /// A folder with QEMU's programs.
    pub(crate) qemu: Option<PathBuf>,
    /// All of it as it was given, for records.
    pub(crate) words: BTreeMap<String, String>,
}

impl Given {
    /// From `KEY=VALUE` texts; paths are taken from the current folder on.
    pub(crate) fn parse<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<Self, LabError> {
        let mut given = Self::default();
        for text in texts {
            let wrong = |why: &str| LabError::Setting {
                text: text.clone(),
                why: why.to_owned(),
            };
            let setting = Setting::parse(text)
                .map_err(|_| wrong("it is no KEY=VALUE, such as layer.striped.chunk=64KiB"))?;
            let Setting { key, value } = &setting;
            let twice = given.words.insert(key.clone(), value.clone());
            if twice.is_some() {
                return Err(wrong("the key is given twice"));
            }
            let path = || std::path::absolute(value).map_err(|error| wrong(&error.to_string()));
            match key.as_str() {
                QEMU => given.qemu = Some(existing(&path()?, Path::is_dir, "folder", &wrong)?),
                other if other == KERNEL || other.starts_with("kernel.") => {
                    let arch = match other.split_once('.') {
                        Some((_, word)) => Some(arch(word, &wrong)?),
                        None => None,
                    };
                    let kernel = existing(&path()?, Path::is_file, "file", &wrong)?;
                    given.kernels.insert(arch, kernel);
                }
                _ => given.settings.push(setting),
            }
        }
        Ok(given)
    }

    /// The kernel for guests of an architecture, if one is given. A plan of both architectures needs one for each, since no
    /// kernel fits both.
    pub(crate) fn kernel(&self, arch: Arch, mixed: bool) -> Result<Option<&Path>, LabError> {
        if let Some(kernel) = self.kernels.get(&Some(arch)) {
            return Ok(Some(kernel));
        }
        match self.kernels.get(&None) {
            Some(kernel) if mixed => Err(LabError::Setting {
                text: format!("{KERNEL}={}", kernel.display()),
                why: "the scenario has guests of both architectures: name the one that it is for, \
                      kernel.x86 or kernel.x86_64"
                    .to_owned(),
            }),
            other => Ok(other.map(PathBuf::as_path)),
        }
    }

    /// `mtu=1500, qemu=/opt/qemu`; `as it is` of nothing.
    pub(crate) fn for_people(&self) -> String {
        if self.words.is_empty() {
            return "as it is".to_owned();
        }
        let words = self
            .words
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        words.collect::<Vec<_>>().join(", ")
    }
}

fn arch(word: &str, wrong: &impl Fn(&str) -> LabError) -> Result<Arch, LabError> {
    let known = Arch::ALL.into_iter().find(|arch| arch.as_str() == word);
    known.ok_or_else(|| wrong("known architectures are x86, x86_64"))
}

fn existing(
    path: &Path,
    is: impl Fn(&Path) -> bool,
    what: &str,
    wrong: &impl Fn(&str) -> LabError,
) -> Result<PathBuf, LabError> {
    if is(path) {
        Ok(path.to_owned())
    } else {
        Err(wrong(&format!("there is no {what} {}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<Given, String> {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        Given::parse(&texts).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_the_labs_is_told_from_what_is_the_plans() {
        let given = parse(&[
            "layer.striped.chunk=64KiB",
            "kernel.x86=/proc/version",
            "qemu=/",
        ])
        .unwrap();
        assert_eq!(
            given.settings,
            [Setting::parse("layer.striped.chunk=64KiB").unwrap()]
        );
        assert_eq!(given.qemu.as_deref(), Some(Path::new("/")));
        let x86 = given.kernel(Arch::X86, true).unwrap();
        assert_eq!(x86, Some(Path::new("/proc/version")));
        assert_eq!(given.kernel(Arch::X86_64, true).unwrap(), None);
        assert_eq!(
            given.for_people(),
            "kernel.x86=/proc/version, layer.striped.chunk=64KiB, qemu=/"
        );
        assert_eq!(parse(&[]).unwrap().for_people(), "as it is");
    }

    #[test]
    fn one_kernel_does_for_one_architecture_only() {
        let given = parse(&["kernel=/proc/version"]).unwrap();
        assert!(given.kernel(Arch::X86, false).unwrap().is_some());
        let refused = given.kernel(Arch::X86, true).unwrap_err().to_string();
        assert!(refused.contains("kernel.x86 or kernel.x86_64"), "{refused}");
    }

    #[test]
    fn mistakes_say_what_is_wrong_with_which_text() {
        let refused = [
            &["mtu"][..],
            &["mtu=1500", "mtu=9000"],
            &["kernel=/no/such"],
            &["kernel.arm=/proc/version"],
            &["qemu=/proc/version"],
        ]
        .map(|texts| parse(texts).unwrap_err());
        insta::assert_snapshot!(refused.join("\n"));
    }
}
