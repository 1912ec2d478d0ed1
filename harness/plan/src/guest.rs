//! What the userland of a guest is called, and how a command is run there: Debian's, with busybox as its shell.
//! Another distribution is another file like this one.
//!
//! The lab's own scripts are for busybox's shell: it starts in a tenth of bash's time. It prefers its own applets (`ip`,
//! `ping`, `modprobe`, `date`, `pidof` ...) to programs of that name in `PATH`. So a bare name in a script of the lab is an
//! applet where busybox has one, and a program that must not be the applet is called by its absolute path: those are the
//! constants here. Programs that busybox lacks (`dmsetup`, `drbdadm`, `mkfs.ocfs2` ...) are found in `PATH`.
//!
//! A scenario's commands are for the distribution's own shell, which takes every program from `PATH`: a full tool is used
//! wherever there is one. An image has a link in `PATH` for each applet that no package offers a program for.

/// A static busybox: the shell of the lab's own scripts, and its applets.
const BUSYBOX: &str = "/bin/busybox";
/// The shell of a scenario's commands: dash.
pub const SHELL: &str = "/bin/sh";

/// The shell of somebody at a terminal: it edits lines, keeps a history and completes names.
const BASH: &str = "/bin/bash";
/// Where somebody at a terminal is at home.
pub const HOME: &str = "/root";

/// Where the lab's own programs are put: a folder of `PATH`.
pub const PROGRAMS: &str = "/usr/sbin";
/// Writes and checks blocks that are known again (`images/witness`).
pub const WITNESS: &str = "/usr/sbin/sanlab-witness";

/// coreutils' dd: the applet has no `oflag=dsync`.
pub const DD: &str = "/bin/dd";
/// coreutils' date: the applet knows whole seconds only.
pub const DATE: &str = "/bin/date";
/// coreutils' cat: it moves more bytes with each call.
pub const CAT: &str = "/bin/cat";
/// coreutils' head: the applet copies byte by byte.
pub const HEAD: &str = "/usr/bin/head";
/// coreutils' tail: it seeks to its first byte.
pub const TAIL: &str = "/usr/bin/tail";
/// coreutils' md5sum: the applet has no `-z`.
pub const MD5SUM: &str = "/usr/bin/md5sum";
/// coreutils' stat: the applet's formats have no `%Hd` and `%Ld`.
pub const STAT: &str = "/usr/bin/stat";
/// findutils' find: the applet has no `-printf`.
pub const FIND: &str = "/usr/bin/find";
/// findutils' xargs: it gives one command more arguments than the applet does.
pub const XARGS: &str = "/usr/bin/xargs";
/// util-linux' blockdev.
pub const BLOCKDEV: &str = "/sbin/blockdev";
/// util-linux' mount, with its helper `mount.ocfs2`.
pub const MOUNT: &str = "/bin/mount";
/// util-linux' umount.
pub const UMOUNT: &str = "/bin/umount";
/// util-linux' setpriv: the applet has no `--bounding-set`.
pub const SETPRIV: &str = "/usr/bin/setpriv";
/// e2fsprogs' filefrag, which is no applet.
pub const FILEFRAG: &str = "/usr/sbin/filefrag";
/// iproute2's ip: the applet has no `-s`, which prints a card's counters.
pub const IP: &str = "/usr/sbin/ip";
/// systemd's udevd, which runs only where a layer needs it.
pub const UDEVD: &str = "/lib/systemd/systemd-udevd";
/// What starts and stops the o2cb service (ocfs2-tools).
pub const O2CB_SERVICE: &str = "/etc/init.d/o2cb";
/// The settings that [`O2CB_SERVICE`] reads.
pub const O2CB_SETTINGS: &str = "/etc/default/o2cb";
/// What multipathd loads: checkers and a prioritizer.
pub const MULTIPATH_PLUGINS: &str = "/lib/multipath/libcheckdirectio.so /lib/multipath/libchecktur.so \
    /lib/multipath/libprioconst.so";
/// fio, which not every image has.
pub const FIO: &str = "/usr/bin/fio";

/// The guest agent, by the name that the kernel lists it under.
pub const AGENT: &str = "qemu-ga";

/// The level of a kernel's console that the lab wants: everything but debugging is shown (`console_loglevel` in the kernel's
/// admin-guide, sysctl/kernel.rst).
pub const CONSOLE_LEVEL: u8 = 7;

/// How a program begins that is a script.
pub const SHEBANG: &str = "#!/bin/sh\n";

/// How a script is run: it ends at the first command that fails (`-e`).
pub fn script(text: impl Into<String>) -> Vec<String> {
    vec![BUSYBOX.into(), "sh".into(), "-ec".into(), text.into()]
}

/// How a scenario's command is run: by the distribution's shell, until the first command that fails (`-e`).
pub fn command(text: impl Into<String>) -> Vec<String> {
    vec![SHELL.into(), "-ec".into(), text.into()]
}

/// The text of what [`script`] or [`command`] runs.
pub fn script_text(argv: &[String]) -> Option<&str> {
    match argv {
        [busybox, sh, flags, text] if busybox == BUSYBOX && sh == "sh" && flags == "-ec" => {
            Some(text)
        }
        [shell, flags, text] if shell == SHELL && flags == "-ec" => Some(text),
        _ => None,
    }
}

/// How a command is run in a session of its own, with more environment variables (`NAME=VALUE`) and, if files are given,
/// with its standard output and error appended to those.
///
/// Who starts this leads no process group, so that busybox's setsid does not fork: its process number is the command's and
/// the session's.
pub fn in_session(
    argv: &[String],
    environment: &[String],
    outputs: Option<[&str; 2]>,
) -> Vec<String> {
    let mut all = applet(["setsid"]);
    if let Some([out, err]) = outputs {
        let redirect = format!("exec \"$@\" >>{out} 2>>{err}");
        all.extend(["sh".into(), "-c".into(), redirect, "sh".into()]);
    }
    if !environment.is_empty() {
        all.push("env".into());
        all.extend_from_slice(environment);
    }
    all.extend_from_slice(argv);
    all
}

/// How somebody's own shell is run on a terminal, in his home.
pub fn login_shell() -> Vec<String> {
    let text = format!("cd && exec {BASH} --login");
    vec![SHELL.into(), "-c".into(), text]
}

/// How all processes are killed of a session that [`in_session`] began and whose process number this is.
pub fn kill_session(pid: i64) -> Vec<String> {
    applet(["kill", "-KILL", "--", &format!("-{pid}")])
}

/// How files are removed, whether they are there or not.
pub fn remove(paths: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut argv = applet(["rm", "-f"]);
    argv.extend(paths);
    argv
}

/// How a file is printed.
pub fn print_file(path: &str) -> Vec<String> {
    applet(["cat", "--", path])
}

/// How standard input becomes the file `path`: all of it or nothing, with its folder if that is missing.
pub fn write_file(path: &str, mode: u32) -> Vec<String> {
    let text =
        r#"umask 077; mkdir -p "${1%/*}/"; cat >"$1.new"; chmod "$2" "$1.new"; mv "$1.new" "$1""#;
    let mut argv = script(text);
    argv.extend(["write".into(), path.into(), format!("{mode:o}")]);
    argv
}

fn applet<const N: usize>(words: [&str; N]) -> Vec<String> {
    let words = words.into_iter().map(str::to_owned);
    std::iter::once(BUSYBOX.to_owned()).chain(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_wrapped_in_a_session() {
        let argv = script("echo $A");
        assert_eq!(script_text(&argv), Some("echo $A"));
        let plain = in_session(&argv, &[], None);
        assert_eq!(
            plain.join(" "),
            "/bin/busybox setsid /bin/busybox sh -ec echo $A"
        );
        assert_eq!(script_text(&plain), None);
        let other = command("echo $A");
        assert_eq!(script_text(&other), Some("echo $A"));
        let plain = in_session(&other, &[], None);
        assert_eq!(plain.join(" "), "/bin/busybox setsid /bin/sh -ec echo $A");
        let files = Some(["/run/out", "/run/err"]);
        assert_eq!(
            in_session(&argv, &["A=1".to_owned()], files).join(" "),
            "/bin/busybox setsid sh -c exec \"$@\" >>/run/out 2>>/run/err sh env A=1 /bin/busybox sh -ec echo $A"
        );
        assert_eq!(kill_session(77).join(" "), "/bin/busybox kill -KILL -- -77");
    }
}
