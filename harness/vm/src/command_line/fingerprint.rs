//! What machines must have in common so that one may go on with another's state.

use std::path::PathBuf;

use procfs::{CpuInfo, Current as _};

use crate::command_line::argv::{Way, command_line};
use crate::command_line::clock::GuestClock;
use crate::command_line::kvm_device;
use crate::command_line::spec::{Accelerator, Access, MacAddress, MachineSpec, Ram};

/// The command line with all that differs between machines that are alike left out: names, folders, sockets, Ethernet
/// addresses, the paths of files, and where memory and disks live; and the rate of the host's clock, which is measured, and of
/// which no machine knows that goes on. Under KVM it also holds the host's processor, since `-cpu host` means that, and how
/// KVM's modules are set. What is in the files and which QEMU it is, the caller must add.
pub fn fingerprint(spec: &MachineSpec) -> String {
    let mut text = blanked(spec, GuestClock::kind(spec.accelerator));
    if spec.accelerator == Accelerator::Kvm {
        // Without /proc no processor is like another.
        text.push('\n');
        text.push_str(&CpuInfo::current().map_or_else(|_| String::new(), |info| processor(&info)));
        text.push('\n');
        text.push_str(&kvm_device::modules());
    }
    text
}

/// The devices of a machine: the same command line without what its kernel is told. A guest that was saved goes on where they
/// are the same, also on another host. Under KVM the processor counts as well, which the caller must add.
pub fn devices(spec: &MachineSpec) -> String {
    let text = blanked(spec, GuestClock::kind(spec.accelerator));
    let mut told = false;
    let kept = text.lines().filter(|word| {
        let is_told = std::mem::replace(&mut told, *word == "-append");
        !is_told
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// One word of the command line a line.
fn blanked(spec: &MachineSpec, clock: GuestClock) -> String {
    let mut spec = spec.clone();
    spec.name.clear();
    spec.ram = Ram::Own;
    // The guest does not see it.
    spec.counter = None;
    for path in [
        &mut spec.kernel,
        &mut spec.initramfs,
        &mut spec.dir,
        &mut spec.console_log,
    ] {
        *path = PathBuf::new();
    }
    for drive in &mut spec.drives {
        drive.file = PathBuf::new();
        drive.write_log = None;
        // A clone writes beside the file that its template wrote to: the guest sees no difference.
        if drive.access == Access::Forked {
            drive.access = Access::Written;
        }
    }
    for nic in &mut spec.nics {
        nic.mac = MacAddress([0; 6]);
        nic.socket = PathBuf::new();
    }
    let words = command_line(&spec, Way::Boot(clock));
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    words.join("\n")
}

/// What /proc/cpuinfo tells of the first processor, but for what changes from moment to moment.
fn processor(cpuinfo: &CpuInfo) -> String {
    const TOLD: [&str; 7] = [
        "vendor_id",
        "cpu family",
        "model",
        "model name",
        "stepping",
        "microcode",
        "flags",
    ];
    let told = TOLD.iter().filter_map(|name| {
        let value = cpuinfo.get_field(0, name)?;
        Some(format!("{name}: {value}"))
    });
    told.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use procfs::FromRead as _;
    use sanlab_counter::Api;

    use super::*;
    use crate::command_line::counting::CounterPlugin;
    use crate::command_line::program::QemuVersion;
    use crate::command_line::spec::{Arch, ByteSize, Drive, Hardware, Nic, NicModel};

    fn spec(name: &str, ram: Ram, access: Access) -> MachineSpec {
        let path = |what: &str| PathBuf::from(format!("/somewhere/{name}/{what}"));
        MachineSpec {
            name: name.into(),
            hardware: Hardware::new(Arch::X86_64, ByteSize::from_mib(384)),
            qemu: "qemu-system-x86_64".into(),
            qemu_version: QemuVersion::new(7, 2),
            accelerator: Accelerator::Tcg,
            ram,
            kernel: path("vmlinux"),
            initramfs: path("initramfs"),
            append: Vec::new(),
            drives: vec![Drive::new(path("disk"), "data", access)],
            nics: vec![Nic {
                model: NicModel::VirtioNet,
                mac: MacAddress([
                    0x52,
                    0x54,
                    0,
                    0,
                    0,
                    u8::try_from(name.len()).expect("short"),
                ]),
                socket: path("port.sock"),
            }],
            dir: path("dir"),
            console_log: path("console.log"),
            counter: None,
        }
    }

    const CLOCK: GuestClock = GuestClock::TimeStampCounter { mhz: 0 };

    #[test]
    fn what_a_kernel_is_told_is_no_device() {
        let one = spec("vix0", Ram::Own, Access::Written);
        let mut other = one.clone();
        other.append = vec!["debug".into()];
        assert_eq!(devices(&one), devices(&other));
        assert_ne!(fingerprint(&one), fingerprint(&other));
        other.hardware.cpus = 2;
        assert_ne!(devices(&one), devices(&other));
    }

    #[test]
    fn a_template_and_its_clones_have_one() {
        let template = spec("template", Ram::Kept("/ram".into()), Access::Written);
        let clone = spec("vix1", Ram::Forked("/cache/ram".into()), Access::Forked);
        let text = blanked(&template, CLOCK);
        assert_eq!(text, blanked(&clone, CLOCK));
        let counted = MachineSpec {
            counter: Some(crate::command_line::spec::Counter {
                plugin: CounterPlugin {
                    file: "/lab/libsanlab_counter.so".into(),
                    api: Api::V7,
                },
                file: "/run/instructions".into(),
            }),
            ..clone
        };
        assert_eq!(text, blanked(&counted, CLOCK));
        let mut logged = counted;
        logged.drives[0].write_log = Some("/somewhere/vix1/log".into());
        assert_eq!(text, blanked(&logged, CLOCK));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn what_the_guest_sees_is_in_it() {
        let base = spec("vix1", Ram::Own, Access::Written);
        let change = |change: fn(&mut MachineSpec)| {
            let mut other = base.clone();
            change(&mut other);
            other
        };
        let others = [
            change(|spec| spec.hardware.memory = ByteSize::from_mib(385)),
            change(|spec| spec.hardware.cpus = 2),
            change(|spec| spec.accelerator = Accelerator::Kvm),
            change(|spec| spec.nics[0].model = NicModel::E1000),
            change(|spec| spec.nics.clear()),
            change(|spec| spec.drives.clear()),
            change(|spec| spec.drives[0].serial = "root".into()),
            change(|spec| spec.drives[0].access = Access::ReadOnly),
            change(|spec| spec.append.push("loglevel=7".into())),
            // It decides on work-arounds.
            change(|spec| spec.qemu_version = QemuVersion::new(10, 0)),
        ];
        let text = blanked(&base, CLOCK);
        for other in others {
            assert_ne!(text, blanked(&other, CLOCK), "{other:?}");
        }
        assert_ne!(text, blanked(&base, GuestClock::Hpet));
    }

    #[test]
    fn what_is_measured_is_not() {
        let base = spec("vix1", Ram::Own, Access::Written);
        let kind = GuestClock::kind(Accelerator::Tcg);
        assert!(matches!(
            kind,
            GuestClock::TimeStampCounter { mhz: 0 } | GuestClock::Hpet
        ));
        assert_eq!(fingerprint(&base), blanked(&base, kind));
        let kvm = MachineSpec {
            accelerator: Accelerator::Kvm,
            ..base
        };
        let text = fingerprint(&kvm);
        assert!(text.ends_with(&kvm_device::modules()), "{text}");
        assert!(!text.contains("MHz"), "{text}");
    }

    #[test]
    fn a_processor_is_told_without_its_pulse() {
        let cpuinfo = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t\t: 79\ncpu MHz\t\t: 2596.998\n\
            flags\t\t: fpu vme\nbogomips\t: 5193.99\n\nprocessor\t: 1\nflags\t\t: fpu\n";
        let cpuinfo = CpuInfo::from_read(cpuinfo.as_bytes()).expect("it is one");
        assert_eq!(
            processor(&cpuinfo),
            "vendor_id: GenuineIntel\nmodel: 79\nflags: fpu vme"
        );
    }
}
