//! A machine as a command line: a function from data to data.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use crate::agent::{PORT_ID, PORT_NAME};
use crate::clock::GuestClock;
use crate::spec::{Accelerator, Arch, Drive, MachineSpec, Nic, NicModel};

/// The sockets in [`MachineSpec::dir`] on which the harness listens and to which QEMU connects.
pub(crate) const QMP_SOCKET: &str = "qmp.sock";
pub(crate) const AGENT_SOCKET: &str = "agent.sock";
pub(crate) const CONSOLE_SOCKET: &str = "console.sock";

/// What every guest's kernel is told.
const KERNEL_ARGUMENTS: &[&str] = &[
    "console=ttyS0",
    // Only errors and worse: the serial port is slow.
    "quiet",
    // A kernel that panics before pvpanic is there resets, which ends QEMU.
    "panic=-1",
    "mitigations=off",
    "nokaslr",
    "net.ifnames=0",
    // A loaded host delays the timer long enough for the kernel to think it broken.
    "no_timer_check",
    // What follows takes a tenth (x86_64) to a quarter (x86) off a boot under TCG: pages are not cleared when they are
    // allocated, ciphers not tested when they are loaded, absent serial ports not probed, grace periods not batched.
    "init_on_alloc=0",
    "cryptomgr.notests",
    "8250.nr_uarts=1",
    "rcupdate.rcu_expedited=1",
    "audit=0",
    "apparmor=0",
];

/// The arguments of QEMU for a machine; the program itself is [`MachineSpec::qemu`]. The clock is the host's affair:
/// [`GuestClock::for_host`].
pub fn argv(spec: &MachineSpec, clock: GuestClock) -> Vec<OsString> {
    let mut line = Line(Vec::new());
    line.add("-name", &spec.name);
    line.flag("-nodefaults");
    line.flag("-no-user-config");
    line.add("-display", "none");
    processor(&mut line, spec);
    // Stays at the panic, so that it can be told and looked at; a reset or a power-off ends QEMU.
    line.add("-action", "panic=pause,reboot=shutdown,shutdown=poweroff");
    line.add("-rtc", "base=utc,clock=host");
    boot(&mut line, spec, clock);
    channels(&mut line, spec);
    line.add("-device", "pvpanic");
    line.add("-object", "rng-builtin,id=rng");
    line.add("-device", "virtio-rng-pci,rng=rng");
    for (number, drive) in spec.drives.iter().enumerate() {
        disk(&mut line, number, drive);
    }
    for (number, nic) in spec.nics.iter().enumerate() {
        network_card(&mut line, number, nic);
    }
    line.0
}

fn processor(line: &mut Line, spec: &MachineSpec) {
    // Without what no guest uses and every guest would probe for: a fifth less of a boot than `pc`. `microvm` has neither
    // pvpanic nor vmgenid. The HPET stays: the kernel checks its clock by it.
    line.add(
        "-machine",
        "q35,memory-backend=ram,usb=off,vmport=off,sata=off,smbus=off",
    );
    match spec.accelerator {
        Accelerator::Kvm => {
            line.add("-accel", "kvm");
            line.add("-cpu", "host");
        }
        Accelerator::Tcg => {
            // A booted guest that has done something has 65 MB of translated code; the default is 1 GiB, never given back.
            line.add("-accel", "tcg,thread=multi,tb-size=64");
            line.add("-cpu", "max");
        }
    }
    // Room for one more CPU, which never comes: with room for one only, TCG leaves memory barriers and the atomicity of
    // locked instructions out, as if nobody else saw the memory. QEMU's own threads do, in the virtio queues. A guest was
    // seen to hear nothing from its network ever after some frame, as when an interrupt is lost there.
    line.add("-smp", &format!("{},maxcpus={}", spec.cpus, spec.cpus + 1));
    line.add("-m", &format!("{}M", spec.memory_mib));
    line.add(
        "-object",
        &format!(
            "memory-backend-memfd,id=ram,size={}M,share=on",
            spec.memory_mib
        ),
    );
}

fn boot(line: &mut Line, spec: &MachineSpec, clock: GuestClock) {
    line.path("-kernel", &spec.kernel);
    line.path("-initrd", &spec.initramfs);
    let words = KERNEL_ARGUMENTS.iter().map(ToString::to_string);
    let words = words
        .chain([format!("nr_cpus={}", spec.cpus)])
        .chain(clock.kernel_arguments())
        .chain(spec.append.iter().cloned());
    line.add("-append", &words.collect::<Vec<_>>().join(" "));
}

/// QMP, the serial console and the agent's port.
fn channels(line: &mut Line, spec: &MachineSpec) {
    let socket = |name: &str| value(&spec.dir.join(name));
    line.option("-chardev", b"socket,id=qmp,path=", &socket(QMP_SOCKET), b"");
    line.add("-mon", "chardev=qmp,mode=control");
    let mut log = b",logfile=".to_vec();
    log.extend(value(&spec.console_log));
    line.option(
        "-chardev",
        b"socket,id=console,path=",
        &socket(CONSOLE_SOCKET),
        &log,
    );
    line.add("-serial", "chardev:console");
    line.option(
        "-chardev",
        b"socket,id=agent,path=",
        &socket(AGENT_SOCKET),
        b"",
    );
    line.add("-device", "virtio-serial-pci");
    line.add(
        "-device",
        &format!("virtserialport,chardev=agent,id={PORT_ID},name={PORT_NAME}"),
    );
}

/// `cache=unsafe` ignores the guest's flushes: a disk never outlives the host's boot, and QEMU's own end loses nothing,
/// since written data is in the host's page cache by then. No lock: read-only files are shared by all machines, and a
/// writable one belongs to its machine's private folder.
fn disk(line: &mut Line, number: usize, drive: &Drive) {
    let read_only = if drive.read_only { "on" } else { "off" };
    let options = format!(
        ",if=none,id=drive{number},format=raw,cache=unsafe,aio=threads,file.locking=off,readonly={read_only}"
    );
    line.option("-drive", b"file=", &value(&drive.file), options.as_bytes());
    line.add(
        "-device",
        &format!("virtio-blk-pci,drive=drive{number},serial={}", drive.serial),
    );
}

fn network_card(line: &mut Line, number: usize, nic: &Nic) {
    let id = format!("stream,id=net{number},server=off,addr.type=unix,addr.path=");
    line.option("-netdev", id.as_bytes(), &value(&nic.socket), b"");
    // No boot ROM: nobody boots from the network.
    let (model, mtu) = match nic.model {
        NicModel::VirtioNet => ("virtio-net-pci", format!(",host_mtu={}", nic.mtu)),
        NicModel::E1000 => ("e1000", String::new()),
    };
    line.add(
        "-device",
        &format!("{model},netdev=net{number},mac={},romfile={mtu}", nic.mac),
    );
}

/// A value inside an option: QEMU wants its commas doubled.
fn value(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes
        .iter()
        .flat_map(|byte| {
            if *byte == b',' {
                &b",,"[..]
            } else {
                std::slice::from_ref(byte)
            }
        })
        .copied()
        .collect()
}

struct Line(Vec<OsString>);

impl Line {
    fn flag(&mut self, flag: &str) {
        self.0.push(flag.into());
    }

    fn add(&mut self, flag: &str, value: &str) {
        self.0.extend([flag.into(), value.into()]);
    }

    fn path(&mut self, flag: &str, path: &Path) {
        self.flag(flag);
        self.0.push(path.into());
    }

    fn option(&mut self, flag: &str, before: &[u8], value: &[u8], after: &[u8]) {
        self.flag(flag);
        self.0
            .push(OsString::from_vec([before, value, after].concat()));
    }
}

/// The QEMU program's usual name.
pub(crate) fn program_name(arch: Arch) -> &'static str {
    match arch {
        Arch::X86 => "qemu-system-i386",
        Arch::X86_64 => "qemu-system-x86_64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::MacAddress;

    fn spec(arch: Arch, accelerator: Accelerator, model: NicModel) -> MachineSpec {
        MachineSpec {
            name: "vix1".into(),
            arch,
            qemu: program_name(arch).into(),
            accelerator,
            cpus: 1,
            memory_mib: 384,
            kernel: "/cache/vmlinux".into(),
            initramfs: "/cache/initramfs".into(),
            append: vec!["loglevel=5".into()],
            drives: vec![
                Drive {
                    file: "/cache/root.erofs".into(),
                    serial: "root".into(),
                    read_only: true,
                },
                Drive {
                    file: "/run/a,b/vix1/disk".into(),
                    serial: "data".into(),
                    read_only: false,
                },
            ],
            nics: vec![Nic {
                model,
                mac: MacAddress([0x52, 0x54, 0, 0x4d, 0, 1]),
                socket: "/run/a,b/port1".into(),
                mtu: 16000,
            }],
            dir: "/run/a,b/vix1".into(),
            console_log: "/logs/vix1.log".into(),
        }
    }

    /// One option and its value a line.
    fn shown(arch: Arch, accelerator: Accelerator, model: NicModel) -> String {
        let clock = match accelerator {
            Accelerator::Kvm => GuestClock::Kvm,
            Accelerator::Tcg => GuestClock::TimeStampCounter { mhz: 2596 },
        };
        let words = argv(&spec(arch, accelerator, model), clock);
        let words = words
            .into_iter()
            .map(|word| word.into_string().expect("all of it is text"));
        words.fold(program_name(arch).to_owned(), |line, word| {
            line + if word.starts_with('-') { "\n" } else { " " } + &word
        })
    }

    #[test]
    fn x86_under_tcg() {
        insta::assert_snapshot!(shown(Arch::X86, Accelerator::Tcg, NicModel::VirtioNet));
    }

    #[test]
    fn x86_64_under_tcg() {
        insta::assert_snapshot!(shown(Arch::X86_64, Accelerator::Tcg, NicModel::VirtioNet));
    }

    #[test]
    fn x86_64_under_kvm() {
        insta::assert_snapshot!(shown(Arch::X86_64, Accelerator::Kvm, NicModel::VirtioNet));
    }

    #[test]
    fn an_e1000() {
        insta::assert_snapshot!(shown(Arch::X86, Accelerator::Tcg, NicModel::E1000));
    }

    #[test]
    fn no_option_is_left_empty_or_torn() {
        let mut plain = spec(Arch::X86, Accelerator::Kvm, NicModel::E1000);
        plain.append.clear();
        let words = argv(&plain, GuestClock::Kvm);
        assert!(words.iter().all(|word| {
            word.to_str()
                .is_some_and(|word| word == word.trim() && !word.is_empty())
        }));
    }
}
