//! A machine as a command line: a function from data to data.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use crate::channels::{agent, event_port, frame, lab_agent};
use crate::command_line::clock::GuestClock;
use crate::command_line::program::QemuVersion;
use crate::command_line::spec::{
    Accelerator, Access, Arch, Attachment, Counter, Drive, MachineSpec, Nic, NicModel, Ram,
};

/// The sockets in [`MachineSpec::dir`] on which the harness listens and to which QEMU connects.
pub(crate) const QMP_SOCKET: &str = "qmp.sock";
pub(crate) const AGENT_SOCKET: &str = "agent.sock";
pub(crate) const CONSOLE_SOCKET: &str = "console.sock";
pub(crate) const EVENT_PORT_SOCKET: &str = "events.sock";
pub(crate) const LAB_AGENT_SOCKET: &str = "lab.sock";

/// What QMP's commands call the console.
pub(crate) const CONSOLE_ID: &str = "console";

/// What every guest's kernel gets on its command line.
const KERNEL_ARGUMENTS: &[&str] = &[
    "console=ttyS0",
    // Only errors and worse: the serial port is slow.
    "quiet",
    // A kernel that panics before pvpanic is there resets, which ends QEMU.
    "panic=-1",
    // One that hangs is made to print its state by SysRq keys on the console, or by an NMI.
    "sysrq_always_enabled",
    "unknown_nmi_panic",
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

/// How a machine comes to life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Its kernel boots, with this clock.
    Boot(GuestClock),
    /// It waits, standing still, to be told where a saved state is.
    Load,
}

/// The arguments of QEMU for a machine that boots; the program itself is [`MachineSpec::qemu`]. The clock is the host's
/// affair: [`GuestClock::for_host`].
pub fn argv(spec: &MachineSpec, clock: GuestClock) -> Vec<OsString> {
    command_line(spec, Way::Boot(clock))
}

/// The same for a machine that boots or loads a state.
pub(crate) fn command_line(spec: &MachineSpec, way: Way) -> Vec<OsString> {
    let mut line = Line(Vec::new());
    line.add("-name", &spec.name);
    line.flag("-nodefaults");
    line.flag("-no-user-config");
    line.add("-display", "none");
    processor(&mut line, spec);
    // Stays at the panic, so that it can be told and looked at; a reset or a power-off ends QEMU.
    line.add("-action", "panic=pause,reboot=shutdown,shutdown=poweroff");
    line.add("-rtc", "base=utc,clock=host");
    boot(&mut line, spec, way);
    channels(&mut line, spec);
    line.add("-device", "pvpanic");
    // The kernel leaves a note here of where its own data are, which stands in a dump of its memory.
    line.add("-device", "vmcoreinfo");
    // Another number in every QEMU: a guest that goes on in a new one sees it and reseeds its random numbers.
    line.add("-device", "vmgenid,guid=auto");
    line.add("-object", "rng-builtin,id=rng");
    line.add("-device", "virtio-rng-pci,rng=rng");
    scsi_controllers(&mut line, &spec.drives);
    for (number, drive) in spec.drives.iter().enumerate() {
        disk(&mut line, number, drive);
    }
    for (number, nic) in spec.nics.iter().enumerate() {
        network_card(&mut line, number, nic);
    }
    if let Some(counter) = spec.counted() {
        line.flag("-plugin");
        line.0.push(plugin_value(counter));
    }
    line.0
}

fn processor(line: &mut Line, spec: &MachineSpec) {
    // Without what no guest uses and every guest would probe for: a fifth less of a boot than `pc`. `microvm` has neither
    // pvpanic nor vmgenid. The HPET stays: the kernel checks its clock by it. System management mode and the APIC's help for
    // Windows XP (vapic) go too: both make KVM write the registers of a guest anew, and its task register is marked busy then.
    // Where QEMU emulates the SVM below that KVM, it aborts at the next entry of an i386 kernel ("invalid tss type").
    line.add(
        "-machine",
        "q35,memory-backend=ram,usb=off,vmport=off,sata=off,smbus=off,smm=off",
    );
    match spec.accelerator {
        Accelerator::Kvm => {
            line.add("-accel", "kvm");
            line.add("-cpu", "host");
            line.add("-global", "kvm-apic.vapic=off");
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
    let cpus = spec.hardware.cpus;
    line.add("-smp", &format!("{cpus},maxcpus={}", cpus + 1));
    line.add("-m", &format!("{}M", spec.hardware.memory.mib()));
    memory(line, spec);
}

/// The views of a file are called alike, so that the one goes on with the other's state; a saved state names RAM by this id.
fn memory(line: &mut Line, spec: &MachineSpec) {
    let (file, share) = match &spec.ram {
        Ram::Own => {
            let options = format!(
                "memory-backend-memfd,id=ram,size={}M,share=on",
                spec.hardware.memory.mib()
            );
            return line.add("-object", &options);
        }
        Ram::Kept(file) => (file, "on"),
        Ram::Forked(file) => (file, "off"),
    };
    let size = format!(",size={}M,share={share}", spec.hardware.memory.mib());
    line.option(
        "-object",
        b"memory-backend-file,id=ram,mem-path=",
        &value(file),
        size.as_bytes(),
    );
}

fn boot(line: &mut Line, spec: &MachineSpec, way: Way) {
    line.path("-kernel", &spec.kernel);
    line.path("-initrd", &spec.initramfs);
    let clock = match way {
        Way::Boot(clock) => clock.kernel_arguments(),
        // The kernel was told when it booted.
        Way::Load => Vec::new(),
    };
    let words = KERNEL_ARGUMENTS.iter().map(ToString::to_string);
    let words = words
        .chain([format!("nr_cpus={}", spec.hardware.cpus)])
        .chain(translated(spec).map(ToString::to_string))
        .chain(clock)
        .chain(spec.append.iter().cloned());
    line.add("-append", &words.collect::<Vec<_>>().join(" "));
    if way == Way::Load {
        line.flag("-S");
        line.add("-incoming", "defer");
    }
}

/// QEMU before 8.0 translates `cmpxchg8b` and `cmpxchg16b` so that they leave what the last arithmetic worked with in EFLAGS,
/// instead of flags. An interrupt or a `pushf` before the next arithmetic saves that, and its end brings it back: i386
/// kernels were seen to die of a double fault with the flag of virtual 8086 mode, and to stumble over the trap flag. The
/// kernel's allocator uses the instructions all the time. On `x86_64` it does without where the CPU does not have them; on
/// i386 only where its caches are checked, which takes 5 % more instructions of a guest that writes to the network.
fn translated(spec: &MachineSpec) -> Option<&'static str> {
    const RIGHT_SINCE: QemuVersion = QemuVersion::new(8, 0);
    if spec.qemu_version >= RIGHT_SINCE {
        return None;
    }
    match (spec.accelerator, spec.hardware.arch) {
        (Accelerator::Kvm, _) => None,
        (Accelerator::Tcg, Arch::X86) => Some("slub_debug=F"),
        (Accelerator::Tcg, Arch::X86_64) => Some("clearcpuid=cx16"),
    }
}

/// QMP, the serial console, and the ports of both agents and of events.
fn channels(line: &mut Line, spec: &MachineSpec) {
    let socket = |name: &str| value(&spec.dir.join(name));
    line.option("-chardev", b"socket,id=qmp,path=", &socket(QMP_SOCKET), b"");
    line.add("-mon", "chardev=qmp,mode=control");
    let mut log = b",logfile=".to_vec();
    log.extend(value(&spec.console_log));
    // A machine may have run before in the same run.
    log.extend(b",logappend=on");
    line.option(
        "-chardev",
        format!("socket,id={CONSOLE_ID},path=").as_bytes(),
        &socket(CONSOLE_SOCKET),
        &log,
    );
    line.add("-serial", &format!("chardev:{CONSOLE_ID}"));
    line.add("-device", "virtio-serial-pci,max_ports=4");
    for (id, name, file) in [
        (agent::PORT_ID, agent::PORT_NAME, AGENT_SOCKET),
        (
            event_port::PORT_ID,
            event_port::PORT_NAME,
            EVENT_PORT_SOCKET,
        ),
        (lab_agent::PORT_ID, frame::PORT_NAME, LAB_AGENT_SOCKET),
    ] {
        let chardev = format!("socket,id={id},path=");
        line.option("-chardev", chardev.as_bytes(), &socket(file), b"");
        line.add(
            "-device",
            &format!("virtserialport,chardev={id},id={id},name={name}"),
        );
    }
}

/// `cache=unsafe` ignores the guest's flushes: a disk never outlives the host's boot, and QEMU's own end loses nothing,
/// since written data is in the host's page cache by then. No lock: files that are only read are shared by all machines,
/// and a written one belongs to its machine's private folder, or is written by several on purpose. The overlay of a forked disk has no name: QEMU removes it
/// from its `TMPDIR`, the machine's folder, as soon as it is open.
fn disk(line: &mut Line, number: usize, drive: &Drive) {
    let access = match drive.access {
        Access::ReadOnly => "readonly=on",
        Access::Written | Access::Shared => "readonly=off",
        Access::Forked => "readonly=off,snapshot=on",
    };
    match &drive.write_log {
        None => {
            let options = format!(
                ",if=none,id=drive{number},format=raw,cache=unsafe,aio=threads,file.locking=off,{access}"
            );
            line.option("-drive", b"file=", &value(&drive.file), options.as_bytes());
        }
        Some(log) => logged_disk(line, number, &drive.file, log, access),
    }
    // Without it QEMU would not let anybody else write.
    let share = match drive.access {
        Access::Shared => ",share-rw=on",
        Access::ReadOnly | Access::Written | Access::Forked => "",
    };
    let device = match drive.attachment {
        Attachment::VirtioBlk => "virtio-blk-pci".to_owned(),
        Attachment::VirtioScsi {
            controller,
            lun,
            wwn,
        } => format!(
            "scsi-hd,bus=scsi{controller}.0,channel=0,scsi-id={controller},lun={lun},wwn={wwn:#x}"
        ),
    };
    let serial = &drive.serial;
    line.add(
        "-device",
        &format!("{device},drive=drive{number},serial={serial}{share}"),
    );
}

/// Those that disks are attached to.
fn scsi_controllers(line: &mut Line, drives: &[Drive]) {
    let numbers = drives.iter().filter_map(|drive| match drive.attachment {
        Attachment::VirtioBlk => None,
        Attachment::VirtioScsi { controller, .. } => Some(controller),
    });
    for number in numbers.collect::<BTreeSet<_>>() {
        line.add("-device", &format!("virtio-scsi-pci,id=scsi{number}"));
    }
}

/// The filter has to see the guest's flushes; both files below it ignore them like those of other disks. Sectors of 512 bytes are
/// what the guest sees anyway.
fn logged_disk(line: &mut Line, number: usize, file: &Path, log: &Path, access: &str) {
    let before = format!(
        "if=none,id=drive{number},driver=blklogwrites,cache=writeback,{access},log-sector-size=512,\
         file.driver=file,file.aio=threads,file.locking=off,file.cache.no-flush=on,file.filename="
    );
    let mut after =
        b",log.driver=file,log.aio=threads,log.locking=off,log.cache.no-flush=on,log.filename="
            .to_vec();
    after.extend(value(log));
    line.option("-drive", before.as_bytes(), &value(file), &after);
}

fn network_card(line: &mut Line, number: usize, nic: &Nic) {
    let id = netdev_id(number);
    let stream = format!("stream,id={id},server=off,addr.type=unix,addr.path=");
    line.option("-netdev", stream.as_bytes(), &value(&nic.socket), b"");
    // No boot ROM: nobody boots from the network. Any MTU may be set in the guest, so that machines which differ in it
    // only can be clones of one.
    let (model, mtu) = match nic.model {
        NicModel::VirtioNet => ("virtio-net-pci", ",host_mtu=65535"),
        NicModel::E1000 => ("e1000", ""),
    };
    line.add(
        "-device",
        &format!("{model},netdev={id},mac={},romfile={mtu}", nic.mac),
    );
}

/// What QMP's commands call what a network card is connected to.
pub(crate) fn netdev_id(number: usize) -> String {
    format!("net{number}")
}

/// What counts instructions, and where.
pub(crate) fn plugin_value(counter: &Counter) -> OsString {
    let Counter { plugin, file } = counter;
    let mut words = [value(&plugin.file), value(file)].join(&b",out="[..]);
    // Last, where the plugin looks for it before it gets its arguments.
    words.extend(format!(",api={}", plugin.api.number()).bytes());
    OsString::from_vec(words)
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
    use sanlab_counter::Api;

    use super::*;
    use crate::command_line::counting::CounterPlugin;
    use crate::command_line::spec::{ByteSize, Hardware, MacAddress};

    pub(crate) fn spec(arch: Arch, accelerator: Accelerator, model: NicModel) -> MachineSpec {
        MachineSpec {
            name: "vix1".into(),
            hardware: Hardware::new(arch, ByteSize::from_mib(384)),
            qemu: program_name(arch).into(),
            qemu_version: QemuVersion::new(7, 2),
            accelerator,
            ram: Ram::Own,
            kernel: "/cache/vmlinux".into(),
            initramfs: "/cache/initramfs".into(),
            append: vec!["loglevel=5".into()],
            drives: vec![
                Drive::new("/cache/root.erofs", "root", Access::ReadOnly),
                Drive::new("/run/a,b/vix1/disk", "data", Access::Written),
            ],
            nics: vec![Nic {
                model,
                mac: MacAddress([0x52, 0x54, 0, 0x4d, 0, 1]),
                socket: "/run/a,b/port1".into(),
            }],
            dir: "/run/a,b/vix1".into(),
            console_log: "/logs/vix1.log".into(),
            counter: None,
        }
    }

    /// One option and its value a line.
    fn shown(arch: Arch, accelerator: Accelerator, model: NicModel) -> String {
        let clock = match accelerator {
            Accelerator::Kvm => GuestClock::Kvm,
            Accelerator::Tcg => GuestClock::TimeStampCounter { mhz: 2596 },
        };
        lines(&spec(arch, accelerator, model), Way::Boot(clock))
    }

    fn lines(spec: &MachineSpec, way: Way) -> String {
        let words = command_line(spec, way);
        let words = words
            .into_iter()
            .map(|word| word.into_string().expect("all of it is text"));
        words.fold(program_name(spec.hardware.arch).to_owned(), |line, word| {
            line + if word.starts_with('-') { "\n" } else { " " } + &word
        })
    }

    /// The machine that was saved and the one that goes on differ in nothing that the guest sees.
    #[test]
    fn a_clone_and_its_template() {
        let mut template = spec(Arch::X86_64, Accelerator::Tcg, NicModel::VirtioNet);
        template.ram = Ram::Kept("/cache/a,b/ram".into());
        let mut clone = template.clone();
        clone.ram = Ram::Forked("/cache/a,b/ram".into());
        clone.drives[1].access = Access::Forked;
        let clock = GuestClock::TimeStampCounter { mhz: 2596 };
        let template = lines(&template, Way::Boot(clock));
        let clone = lines(&clone, Way::Load);
        let differences: Vec<&str> = template
            .lines()
            .filter(|line| !clone.contains(line))
            .chain(clone.lines().filter(|line| !template.contains(line)))
            .collect();
        insta::assert_snapshot!(differences.join("\n"));
    }

    #[test]
    fn a_disk_whose_writes_are_logged() {
        let plain = spec(Arch::X86, Accelerator::Tcg, NicModel::VirtioNet);
        let mut logged = plain.clone();
        logged.drives[1].write_log = Some("/run/a,b/vix1/log".into());
        let [plain, logged] = [plain, logged].map(|spec| lines(&spec, Way::Load));
        let differences: Vec<&str> = logged
            .lines()
            .filter(|line| !plain.contains(line))
            .collect();
        insta::assert_snapshot!(differences.join("\n"), @"-drive if=none,id=drive1,driver=blklogwrites,cache=writeback,readonly=off,log-sector-size=512,file.driver=file,file.aio=threads,file.locking=off,file.cache.no-flush=on,file.filename=/run/a,,b/vix1/disk,log.driver=file,log.aio=threads,log.locking=off,log.cache.no-flush=on,log.filename=/run/a,,b/vix1/log");
    }

    #[test]
    fn a_disk_that_machines_share() {
        let own = spec(Arch::X86, Accelerator::Tcg, NicModel::VirtioNet);
        let mut shared = own.clone();
        shared.drives[1].access = Access::Shared;
        let [own, shared] = [own, shared].map(|spec| lines(&spec, Way::Load));
        let differences: Vec<&str> = shared.lines().filter(|line| !own.contains(line)).collect();
        insta::assert_snapshot!(differences.join("\n"), @"-device virtio-blk-pci,drive=drive1,serial=data,share-rw=on");
    }

    /// One file over two controllers, as one disk by its serial number and World Wide Name.
    #[test]
    fn a_disk_with_two_paths() {
        let plain = spec(Arch::X86, Accelerator::Tcg, NicModel::VirtioNet);
        let mut paths = plain.clone();
        paths.drives.extend((0..2).map(|controller| Drive {
            attachment: Attachment::VirtioScsi {
                controller,
                lun: 1,
                wwn: 0x3000_0000_0000_0001,
            },
            ..Drive::new("/run/a,b/shared1.raw", "shared1", Access::Shared)
        }));
        let [plain, paths] = [plain, paths].map(|spec| lines(&spec, Way::Load));
        let differences: Vec<&str> = paths.lines().filter(|line| !plain.contains(line)).collect();
        insta::assert_snapshot!(differences.join("\n"), @r"
        -device virtio-scsi-pci,id=scsi0
        -device virtio-scsi-pci,id=scsi1
        -drive file=/run/a,,b/shared1.raw,if=none,id=drive2,format=raw,cache=unsafe,aio=threads,file.locking=off,readonly=off
        -device scsi-hd,bus=scsi0.0,channel=0,scsi-id=0,lun=1,wwn=0x3000000000000001,drive=drive2,serial=shared1,share-rw=on
        -drive file=/run/a,,b/shared1.raw,if=none,id=drive3,format=raw,cache=unsafe,aio=threads,file.locking=off,readonly=off
        -device scsi-hd,bus=scsi1.0,channel=0,scsi-id=1,lun=1,wwn=0x3000000000000001,drive=drive3,serial=shared1,share-rw=on
        ");
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

    /// Beside its other options, which stay what they are; never where it would count wrongly.
    #[test]
    fn a_counter() {
        let plain = spec(Arch::X86, Accelerator::Tcg, NicModel::VirtioNet);
        let with = |accelerator, api, cpus| {
            let counter = Some(Counter {
                plugin: CounterPlugin {
                    file: "/lab/a,b/libsanlab_counter.so".into(),
                    api,
                },
                file: "/run/vix1/instructions".into(),
            });
            let mut spec = MachineSpec {
                accelerator,
                counter,
                ..plain.clone()
            };
            spec.hardware.cpus = cpus;
            lines(&spec, Way::Load)
        };
        let without = lines(&plain, Way::Load);
        let counted = with(Accelerator::Tcg, Api::V1, 1);
        let more = counted.strip_prefix(&without).expect("it begins alike");
        insta::assert_snapshot!(more.trim_start(), @"-plugin /lab/a,,b/libsanlab_counter.so,out=/run/vix1/instructions,api=1");
        let two = with(Accelerator::Tcg, Api::V7, 2);
        assert!(two.trim_end().ends_with(",api=7"), "{two}");
        for other in [
            with(Accelerator::Tcg, Api::V1, 2),
            with(Accelerator::Kvm, Api::V7, 1),
        ] {
            assert!(!other.contains("-plugin"), "{other}");
        }
    }

    #[test]
    fn newer_translators_need_no_work_around() {
        for (arch, argument) in [
            (Arch::X86, " slub_debug=F"),
            (Arch::X86_64, " clearcpuid=cx16"),
        ] {
            let mut spec = spec(arch, Accelerator::Tcg, NicModel::VirtioNet);
            let with = lines(&spec, Way::Load);
            assert!(with.contains(argument), "{with}");
            spec.qemu_version = QemuVersion::new(8, 0);
            assert_eq!(lines(&spec, Way::Load), with.replace(argument, ""));
            spec.qemu_version = QemuVersion::parse("unknown");
            assert_eq!(lines(&spec, Way::Load), with);
        }
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
