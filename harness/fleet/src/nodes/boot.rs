//! From a member to the machine that it runs as.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err::OpenOptions;
use sanlab_image::{ARTEFACTS_BYTES, copy_sparse};
use sanlab_plan::Arch;
use sanlab_record::EventKind;
use sanlab_vm::{Access, Counter, Drive, MachineSpec, Nic, QemuVersion, Ram};

use crate::error::FleetError;
use crate::host::in_memory::bytes_in_memory;
use crate::host::run_dir::RunDir;
use crate::nodes::emulator::Emulator;
use crate::spec::{FleetSpec, NodeSpec};
use crate::write_cache::{Base, WriteCache};

/// The longest of the names that a machine's sockets have in its folder.
const LONGEST_SOCKET: &str = "console.sock";

/// The serial number of a member's data disk.
const DATA: &str = "data";

/// The serial number of a drive with artefacts, by which a guest finds it.
const ARTEFACTS: &str = "artefacts";

/// That of the drive while it holds none.
const NO_ARTEFACTS: &str = "no artefacts";

/// The name in a member's folder of its port on the switch of its first card.
const PORT_SOCKET: &str = "port.sock";

/// The name of the file there in which a member's instructions are counted.
const COUNTER: &str = "instructions";

/// A member's files in a folder that keeps them.
pub(crate) struct Kept<'a> {
    folder: &'a Path,
    name: &'a str,
}

impl<'a> Kept<'a> {
    pub(crate) fn new(folder: &'a Path, name: &'a str) -> Self {
        Self { folder, name }
    }

    pub(crate) fn ram(&self) -> PathBuf {
        self.folder.join(format!("{}.ram", self.name))
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.join(format!("{}.disk", self.name))
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join(format!("{}.state", self.name))
    }
}

/// What a member's memory and disk are at first.
#[derive(Debug, Clone)]
pub(crate) struct InitialState {
    /// The file with the memory of a saved machine; without one, it holds nothing.
    pub(crate) ram: Option<PathBuf>,
    pub(crate) disk: Disk,
}

/// What a member's disk is at first.
#[derive(Debug, Clone)]
pub(crate) enum Disk {
    /// It holds nothing.
    Empty,
    /// It is as that of a saved member, whose file stays what it is.
    Saved(PathBuf),
    /// It is the one that the member's last machine wrote to.
    Left(PathBuf),
}

/// Where a member's memory and disk lie.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoragePolicy {
    /// In this folder, where both stay when the machine ends.
    pub(crate) keep: Option<PathBuf>,
    /// What is written to the disk outlives the machine, if not the run.
    pub(crate) disks_survive: bool,
    /// The disk has a volatile write cache; then it outlives the machine as well.
    pub(crate) volatile_cache: bool,
}

/// A spec with its folder, memory and disks, and its data disk if it has one.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) machine: MachineSpec,
    pub(crate) disk: Option<DataDisk>,
}

/// A data disk.
#[derive(Debug, Clone)]
pub(crate) struct DataDisk {
    pub(crate) drive: Drive,
    /// What it may lose when the power is cut.
    pub(crate) cache: Option<WriteCache>,
}

/// Sees before anything boots that sockets can have their paths, and whether full disks would find room. That they
/// would not is no error: few scenarios fill their disks, and other fleets' disks are not counted.
pub(crate) fn check_folder(
    spec: &FleetSpec,
    run_dir: &RunDir,
    tell: impl Fn(EventKind),
) -> Result<(), FleetError> {
    for member in &spec.members {
        run_dir.socket(&format!("{}/{LONGEST_SOCKET}", member.name))?;
    }
    let found = rustix::fs::statvfs(run_dir.path()).map_err(std::io::Error::from)?;
    let free_mib = found.f_bavail.saturating_mul(found.f_frsize) >> 20;
    let disks_mib = spec.disk_bytes() >> 20;
    if disks_mib > free_mib {
        let folder = run_dir.path().display().to_string();
        tell(EventKind::LittleSpace {
            folder,
            free_mib,
            disks_mib,
        });
    }
    Ok(())
}

/// MiB of memory that files of the members may take beside what guests have: data disks where these lie on a tmpfs, and also
/// RAM where that is kept on one, since it stays there when forks run with RAM of their own.
pub(crate) fn files_in_memory_mib(
    spec: &FleetSpec,
    run_dir: &Path,
    keep: Option<&Path>,
    tell: impl Fn(EventKind),
) -> Result<u64, FleetError> {
    let disks = spec.disk_bytes();
    let ram = |member: &NodeSpec| member.hardware.memory.bytes();
    let ram: u64 = spec.expected().map(ram).sum();
    let mut sum = 0;
    for (folder, bytes) in [(Some(run_dir), disks), (keep, disks + ram)] {
        let Some(folder) = folder else { continue };
        let mib = bytes_in_memory(folder, bytes)? >> 20;
        if mib > 0 {
            let folder = folder.display().to_string();
            tell(EventKind::FilesInMemory { folder, mib });
        }
        sum += mib;
    }
    Ok(sum)
}

/// What a member's QEMU is started with, but for the places of things: memory, data disk and folder.
pub(crate) fn base_spec(
    member: &NodeSpec,
    fleet: &FleetSpec,
    emulators: &BTreeMap<Arch, Emulator>,
) -> Result<MachineSpec, FleetError> {
    let image = fleet.image(member)?;
    let missing = || FleetError::NoImage {
        node: member.name.clone(),
        arch: member.hardware.arch,
    };
    let emulator = emulators.get(&member.hardware.arch).ok_or_else(missing)?;
    let mut drives = vec![Drive::new(&image.root, "root", Access::ReadOnly)];
    if member.disk_bytes > 0 {
        drives.push(Drive::new(PathBuf::new(), DATA, Access::Written));
    }
    drives.push(match &image.layer {
        Some(layer) => Drive::new(layer, ARTEFACTS, Access::ReadOnly),
        None => no_artefacts(),
    });
    for disk in fleet.shared_disks_of(&member.name) {
        drives.extend(disk.attachments.iter().map(|attachment| Drive {
            attachment: *attachment,
            ..Drive::new(PathBuf::new(), &disk.serial, Access::Shared)
        }));
    }
    Ok(MachineSpec {
        name: member.name.clone(),
        hardware: member.hardware,
        qemu: emulator.program.clone(),
        qemu_version: QemuVersion::parse(&emulator.version),
        accelerator: emulator.accelerator.accelerator,
        ram: Ram::Own,
        kernel: image.kernel.clone(),
        initramfs: image.initramfs.clone(),
        append: Vec::new(),
        drives,
        nics: fleet
            .cards(member)
            .iter()
            .map(|card| Nic {
                model: member.nic,
                mac: card.mac(member),
                socket: PathBuf::new(),
            })
            .collect(),
        dir: PathBuf::new(),
        console_log: fleet.logs.join(format!("{}.console.log", member.name)),
        counter: None,
    })
}

/// The same of the machine that the member's template is made of: artefacts that no boot needs come after that.
pub(crate) fn template_spec(
    member: &NodeSpec,
    fleet: &FleetSpec,
    emulators: &BTreeMap<Arch, Emulator>,
) -> Result<MachineSpec, FleetError> {
    let mut machine = base_spec(member, fleet, emulators)?;
    if fleet.image(member)?.base.is_some() {
        let drives = machine.drives.iter_mut();
        for drive in drives.filter(|drive| drive.serial == ARTEFACTS) {
            *drive = no_artefacts();
        }
    }
    Ok(machine)
}

/// A drive of the same size, whose file is yet to be made.
fn no_artefacts() -> Drive {
    Drive::new(PathBuf::new(), NO_ARTEFACTS, Access::ReadOnly)
}

/// Has instructions counted by a spec with its folder, if that was asked for and can be.
pub(crate) fn count(
    machine: &mut MachineSpec,
    member: &NodeSpec,
    emulators: &BTreeMap<Arch, Emulator>,
) {
    let emulator = emulators.get(&member.hardware.arch);
    let counter = emulator.and_then(|emulator| emulator.counter_for(member));
    // Why not, was told at the start.
    let plugin = counter.and_then(Result::ok);
    machine.counter = plugin.map(|plugin| Counter {
        plugin,
        file: machine.dir.join(COUNTER),
    });
}

/// The file of a disk that several members of a run share.
pub(crate) fn shared_file(run_dir: &Path, serial: &str) -> PathBuf {
    run_dir.join(format!("{serial}.raw"))
}

/// The name of such a disk's file in the folder of a saved fleet. No member has a file that is called so.
pub(crate) fn shared_name(serial: &str) -> String {
    format!("{serial}.shared")
}

/// Gives a machine its folder, its switch ports' places and those of the disks that it shares.
pub(crate) fn assign_dir(machine: &mut MachineSpec, run_dir: &RunDir) -> Result<(), FleetError> {
    let dir = run_dir.path().join(&machine.name);
    // There already: the member is forked again.
    fs_err::create_dir_all(&dir)?;
    for (number, nic) in machine.nics.iter_mut().enumerate() {
        let socket = match number {
            0 => PORT_SOCKET.to_owned(),
            further => format!("port{further}.sock"),
        };
        nic.socket = run_dir.socket(&format!("{}/{socket}", machine.name))?;
    }
    for drive in &mut machine.drives {
        if drive.access == Access::Shared {
            drive.file = shared_file(run_dir.path(), &drive.serial);
        }
    }
    machine.dir = dir;
    Ok(())
}

/// Gives a spec with its folder its memory and its disks. It may copy files, and belongs off the runtime's threads.
pub(crate) fn attach_storage(
    mut machine: MachineSpec,
    disk_bytes: u64,
    initial: InitialState,
    policy: &StoragePolicy,
) -> Result<Attached, FleetError> {
    let ram_bytes = machine.hardware.memory.bytes();
    let kept = policy
        .keep
        .as_ref()
        .map(|folder| Kept::new(folder, &machine.name));
    machine.ram = match (&kept, initial.ram) {
        (None, None) => Ram::Own,
        (None, Some(old)) => Ram::Forked(old),
        (Some(kept), old) => {
            let new = kept.ram();
            match old {
                None => make_sparse(&new, ram_bytes)?,
                Some(old) => copy_sparse(&old, &new)?,
            }
            Ram::Kept(new)
        }
    };
    let empty = machine.dir.join("no-artefacts.raw");
    let drives = machine.drives.iter_mut();
    for drive in drives.filter(|drive| drive.serial == NO_ARTEFACTS) {
        // There already: the member starts again.
        if !empty.exists() {
            make_sparse(&empty, ARTEFACTS_BYTES)?;
        }
        drive.file.clone_from(&empty);
    }
    let new = kept.map_or_else(|| machine.dir.join("data.raw"), |kept| kept.disk());
    let (log, copy) = (
        machine.dir.join("data.log"),
        machine.dir.join("data.before"),
    );
    let Some(data) = machine.drives.iter_mut().find(|drive| drive.serial == DATA) else {
        return Ok(Attached {
            machine,
            disk: None,
        });
    };
    let base = match &initial.disk {
        Disk::Empty => Base::Empty,
        Disk::Saved(file) => Base::Saved(file.clone()),
        Disk::Left(file) => {
            if policy.volatile_cache {
                copy_sparse(file, &copy)?;
            }
            Base::Copy(copy)
        }
    };
    let survives = policy.disks_survive || policy.volatile_cache;
    (data.file, data.access) = match initial.disk {
        Disk::Saved(file) if policy.keep.is_none() && !survives => (file, Access::Forked),
        Disk::Saved(file) => {
            copy_sparse(&file, &new)?;
            (new, Access::Written)
        }
        Disk::Empty => {
            make_sparse(&new, disk_bytes)?;
            (new, Access::Written)
        }
        Disk::Left(file) => (file, Access::Written),
    };
    let cache = if policy.volatile_cache {
        data.write_log = Some(log.clone());
        Some(WriteCache::begin(log, base)?)
    } else {
        None
    };
    let disk = DataDisk {
        drive: data.clone(),
        cache,
    };
    Ok(Attached {
        machine,
        disk: Some(disk),
    })
}

/// A file that takes only what is written.
pub(crate) fn make_sparse(path: &Path, bytes: u64) -> Result<(), FleetError> {
    let file = OpenOptions::new().create_new(true).write(true).open(path)?;
    Ok(file.set_len(bytes)?)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use sanlab_plan::{ByteSize, Hardware};

    use super::*;

    /// A spec with its folder, `folder/run`, and the files of a saved one in `folder/saved`.
    fn machine(folder: &Path) -> MachineSpec {
        let (run, saved) = (folder.join("run"), folder.join("saved"));
        for made in [&run, &saved, &folder.join("keep")] {
            fs_err::create_dir_all(made).unwrap();
        }
        let kept = Kept::new(&saved, "vix0");
        fs_err::write(kept.ram(), "ram").unwrap();
        fs_err::write(kept.disk(), "disk").unwrap();
        let root = Drive::new("root", "root", Access::ReadOnly);
        let data = Drive::new(PathBuf::new(), DATA, Access::Written);
        MachineSpec {
            name: "vix0".to_owned(),
            hardware: Hardware::new(Arch::X86, ByteSize::from_mib(1)),
            qemu: "qemu".into(),
            qemu_version: QemuVersion::default(),
            accelerator: sanlab_vm::Accelerator::Tcg,
            ram: Ram::Own,
            kernel: "vmlinux".into(),
            initramfs: "initramfs".into(),
            append: Vec::new(),
            drives: vec![root, data],
            nics: Vec::new(),
            dir: run,
            console_log: "console.log".into(),
            counter: None,
        }
    }

    /// Where memory and disk are found in the end, and what of the disk is there.
    fn attached(ram: bool, disk: &str, policy: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let machine = machine(path);
        let saved = Kept::new(&path.join("saved"), "vix0").disk();
        let left = path.join("run/data.raw");
        let initial = InitialState {
            ram: ram.then(|| Kept::new(&path.join("saved"), "vix0").ram()),
            disk: match disk {
                "saved" => Disk::Saved(saved.clone()),
                "left" => {
                    fs_err::write(&left, "left").unwrap();
                    Disk::Left(left)
                }
                _ => Disk::Empty,
            },
        };
        let policy = StoragePolicy {
            keep: (policy == "keep").then(|| path.join("keep")),
            disks_survive: policy == "survive",
            volatile_cache: policy == "volatile",
        };
        let Attached { machine, disk } = attach_storage(machine, 4, initial, &policy).unwrap();
        let DataDisk { drive: data, cache } = disk.unwrap();
        assert_eq!(
            data.write_log,
            cache.as_ref().map(|cache| cache.log.clone())
        );
        assert_eq!(fs_err::read(saved).unwrap(), b"disk");
        let mut text = format!(
            "{:?}, {:?} {} {:?}",
            machine.ram,
            data.access,
            data.file.display(),
            fs_err::read_to_string(&data.file).unwrap(),
        );
        if let Some(WriteCache { log, base }) = cache {
            assert_eq!(fs_err::read(&log).unwrap(), b"");
            write!(text, ", logged in {} since {base:?}", log.display()).unwrap();
        }
        text.replace(&path.display().to_string(), "")
    }

    #[test]
    fn files_on_a_tmpfs_take_memory() {
        // No memory, and nothing is written there.
        let (disk, memory) = (Path::new("/proc"), Path::new("/dev/shm"));
        let mut spec = crate::nodes::identity::tests::fleet();
        for member in &mut spec.members {
            member.disk_bytes = 1 << 20;
            member.hardware.memory = ByteSize::from_mib(2);
        }
        // Two are left.
        spec.absent = vec!["vc".to_owned()];
        let told = std::cell::RefCell::new(Vec::new());
        let mib = |run_dir, keep| {
            let tell = |kind: EventKind| told.borrow_mut().push(kind.to_string());
            files_in_memory_mib(&spec, run_dir, keep, tell).unwrap()
        };
        assert_eq!(mib(disk, None), 0);
        assert_eq!(mib(disk, Some(disk)), 0);
        assert!(told.borrow().is_empty());
        assert_eq!(mib(memory, None), 2);
        assert_eq!(mib(disk, Some(memory)), 6);
        assert_eq!(mib(memory, Some(memory)), 8);
        insta::assert_snapshot!(told.into_inner().join("\n"));
    }

    #[test]
    fn memory_and_disk_lie_where_they_shall_stay() {
        let mut table = Vec::new();
        for (ram, disk) in [
            (false, "empty"),
            (true, "empty"),
            (true, "saved"),
            (true, "left"),
        ] {
            for policy in ["nowhere", "survive", "volatile", "keep"] {
                // After a crash nothing is kept any more.
                if disk == "left" && policy == "keep" {
                    continue;
                }
                let from = if ram { "ram" } else { "no ram" };
                let to = attached(ram, disk, policy);
                table.push(format!("{from}, {disk} disk; {policy}: {to}"));
            }
        }
        insta::assert_snapshot!(table.join("\n"));
    }
}
