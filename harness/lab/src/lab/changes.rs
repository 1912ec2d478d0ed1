//! What a command is given in place of what a scenario's file says.

use std::path::PathBuf;

use crate::LabError;
use crate::lab::artefact_file;
use crate::lab::overrides::Given;

/// Settings and code under test.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Changes {
    /// Use this value in place of the file's, such as `mtu=1500`, `layer.striped.chunk=64KiB`, `qemu=DIR`; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Put a file of this host into guests, such as `/usr/bin/nbdkit=build/nbdkit`; repeatable
    ///
    /// WHO is an architecture, a node or a range of nodes: `x86_64:`, `vix0:`, `vix[1-3]:`. Without it all nodes get the file.
    #[arg(long = "file", value_name = "[WHO:]PATH=FILE", help_heading = UNDER_TEST)]
    own_files: Vec<String>,
    /// Install a Debian package in guests before the first layer; repeatable
    #[arg(long = "deb", value_name = "[WHO:]FILE", help_heading = UNDER_TEST)]
    own_debs: Vec<String>,
    /// Use a kernel module in place of the kernel's own of that name; repeatable
    #[arg(long = "module", value_name = "[WHO:]FILE", help_heading = UNDER_TEST)]
    own_modules: Vec<String>,
    /// Boot another kernel: a built kernel tree, a kernel's Debian package, a vmlinux or bzImage, or the name of an image
    #[arg(long = "kernel", value_name = "[WHO:]KERNEL", help_heading = UNDER_TEST)]
    own_kernels: Vec<String>,
    /// Take code under test from a file with a list `artefact` as in a scenario; repeatable
    #[arg(long = "artefacts", value_name = "FILE", help_heading = UNDER_TEST)]
    own_lists: Vec<PathBuf>,
}

const UNDER_TEST: &str = "Code under test";

impl Changes {
    /// All of them as settings.
    pub(crate) fn given(&self) -> Result<Given, LabError> {
        self.given_with(&[])
    }

    /// All of them, and further settings.
    pub(crate) fn given_with(&self, further: &[String]) -> Result<Given, LabError> {
        let files = self.own_files.iter().map(|file| format!("file.{file}"));
        let others = [
            ("deb", &self.own_debs),
            ("module", &self.own_modules),
            ("kernel", &self.own_kernels),
        ];
        let others = others
            .into_iter()
            .flat_map(|(word, list)| list.iter().map(move |text| scoped(word, text)));
        let mut lists = Vec::new();
        for file in &self.own_lists {
            lists.extend(artefact_file::settings(file)?);
        }
        let all: Vec<String> = self
            .set
            .iter()
            .cloned()
            .chain(lists)
            .chain(files)
            .chain(others)
            .chain(further.iter().cloned())
            .collect();
        Given::parse(&all)
    }
}

/// `module=FILE`, or `module.WHO=FILE`.
fn scoped(word: &str, text: &str) -> String {
    match text.split_once(':') {
        // A path may have a colon, but not before its first `/`.
        Some((who, path)) if !who.contains('/') => format!("{word}.{who}={path}"),
        _ => format!("{word}={text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_settings() {
        let list = |text: &str| vec![text.to_owned()];
        let changes = Changes {
            set: list("mtu=1500"),
            own_files: list("vix[0-1]:/usr/bin/nbdkit=/proc/version"),
            own_debs: list("/proc/version"),
            own_modules: list("x86_64:/proc/version"),
            own_kernels: list("x86_64:debian-trixie"),
            own_lists: Vec::new(),
        };
        let given = changes.given().unwrap();
        let settings = given.settings.iter().map(ToString::to_string);
        assert_eq!(
            settings.collect::<Vec<_>>(),
            [
                "mtu=1500",
                "file.vix[0-1]:/usr/bin/nbdkit=/proc/version",
                "deb=/proc/version",
                "module.x86_64=/proc/version",
                "kernel.x86_64=debian-trixie",
            ]
        );
        assert_eq!(scoped("deb", "./a:b.deb"), "deb=./a:b.deb");
    }
}
