//! From a member to the machine that it runs as.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err::OpenOptions;
use sanlab_image::copy_sparse;
use sanlab_plan::{Arch, NicModel};
use sanlab_vm::{Access, Drive, MachineSpec, Nic, Ram, qemu_binary};

use crate::emulator::Emulator;
use crate::error::FleetError;
use crate::event::FleetEvent;
use crate::run_dir::RunDir;
use crate::spec::{FleetSpec, NodeSpec};

/// The longest of the names that a machine's sockets have in its folder.
const LONGEST_SOCKET: &str = "console.sock";

/// The name of a member's switch port in its folder.
const PORT_SOCKET: &str = "port.sock";

pub(crate) const fn vm_arch(arch: Arch) -> sanlab_vm::Arch {
    match arch {
        Arch::X86 => sanlab_vm::Arch::X86,
        Arch::X86_64 => sanlab_vm::Arch::X86_64,
    }
}

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
pub(crate) enum Content {
    /// Memory and disk hold nothing.
    Nothing,
    /// The memory is that of a template, in this file; the disk holds nothing.
    Template(PathBuf),
    /// Both are those of a saved member, in this folder.
    Saved(PathBuf),
}

/// Sees before anything boots that sockets can have their paths, and whether full disks would find room. That they
/// would not is no error: few scenarios fill their disks, and other fleets' disks are not counted.
pub(crate) fn check_folder(
    spec: &FleetSpec,
    run_dir: &RunDir,
    tell: impl Fn(FleetEvent),
) -> Result<(), FleetError> {
    for member in &spec.members {
        run_dir.socket(&format!("{}/{LONGEST_SOCKET}", member.name))?;
    }
    let found = rustix::fs::statvfs(run_dir.path()).map_err(std::io::Error::from)?;
    let free_mib = found.f_bavail.saturating_mul(found.f_frsize) >> 20;
    let disks_mib = spec
        .members
        .iter()
        .map(|member| member.disk_bytes)
        .sum::<u64>()
        >> 20;
    if disks_mib > free_mib {
        let folder = run_dir.path().to_owned();
        tell(FleetEvent::LittleSpace {
            folder,
            free_mib,
            disks_mib,
        });
    }
    Ok(())
}

/// What a member's QEMU is started with, but for the places of things: memory, data disk and folder.
pub(crate) fn outline(
    member: &NodeSpec,
    fleet: &FleetSpec,
    emulators: &BTreeMap<Arch, Emulator>,
) -> Result<MachineSpec, FleetError> {
    let image = fleet.image(member)?;
    let missing = || FleetError::NoImage {
        node: member.name.clone(),
        arch: member.arch,
    };
    let emulator = emulators.get(&member.arch).ok_or_else(missing)?;
    let mut drives = vec![Drive {
        file: image.root.clone(),
        serial: "root".to_owned(),
        access: Access::ReadOnly,
    }];
    if member.disk_bytes > 0 {
        drives.push(Drive {
            file: PathBuf::new(),
            serial: "data".to_owned(),
            access: Access::Written,
        });
    }
    Ok(MachineSpec {
        name: member.name.clone(),
        arch: vm_arch(member.arch),
        qemu: qemu_binary(vm_arch(member.arch)),
        accelerator: emulator.accelerator.accelerator,
        cpus: member.cpus,
        memory_mib: member.memory_mib,
        ram: Ram::Own,
        kernel: image.kernel.clone(),
        initramfs: image.initramfs.clone(),
        append: Vec::new(),
        drives,
        nics: vec![Nic {
            model: match member.nic {
                NicModel::VirtioNet => sanlab_vm::NicModel::VirtioNet,
                NicModel::E1000 => sanlab_vm::NicModel::E1000,
            },
            mac: member.mac(),
            socket: PathBuf::new(),
        }],
        dir: PathBuf::new(),
        console_log: fleet.logs.join(format!("{}.console.log", member.name)),
    })
}

/// Gives an outlined machine its folder and its switch port's place.
pub(crate) fn settle(machine: &mut MachineSpec, run_dir: &RunDir) -> Result<(), FleetError> {
    let dir = run_dir.path().join(&machine.name);
    // There already: the member is forked again.
    fs_err::create_dir_all(&dir)?;
    for nic in &mut machine.nics {
        nic.socket = run_dir.socket(&format!("{}/{PORT_SOCKET}", machine.name))?;
    }
    machine.dir = dir;
    Ok(())
}

/// Gives a settled machine its memory and its data disk: in `keep` where both shall stay when it ends. It may copy files,
/// and belongs off the runtime's threads.
pub(crate) fn furnish(
    mut machine: MachineSpec,
    disk_bytes: u64,
    content: &Content,
    keep: Option<&Path>,
) -> Result<MachineSpec, FleetError> {
    let ram_bytes = u64::from(machine.memory_mib) << 20;
    let name = machine.name.clone();
    let old_ram = match content {
        Content::Nothing => None,
        Content::Template(ram) => Some(ram.clone()),
        Content::Saved(folder) => Some(Kept::new(folder, &name).ram()),
    };
    machine.ram = match (keep, old_ram) {
        (None, None) => Ram::Own,
        (None, Some(old)) => Ram::Forked(old),
        (Some(folder), old) => {
            let new = Kept::new(folder, &name).ram();
            match old {
                None => make_sparse(&new, ram_bytes)?,
                Some(old) => copy_sparse(&old, &new)?,
            }
            Ram::Kept(new)
        }
    };
    let Some(data) = machine
        .drives
        .iter_mut()
        .find(|drive| drive.serial == "data")
    else {
        return Ok(machine);
    };
    (data.file, data.access) = match (keep, content) {
        (None, Content::Saved(folder)) => (Kept::new(folder, &name).disk(), Access::Forked),
        (Some(keep), Content::Saved(folder)) => {
            let new = Kept::new(keep, &name).disk();
            copy_sparse(&Kept::new(folder, &name).disk(), &new)?;
            (new, Access::Written)
        }
        (keep, Content::Nothing | Content::Template(_)) => {
            let new = match keep {
                Some(keep) => Kept::new(keep, &name).disk(),
                None => machine.dir.join("data.raw"),
            };
            make_sparse(&new, disk_bytes)?;
            (new, Access::Written)
        }
    };
    Ok(machine)
}

/// A file that takes only what is written.
pub(crate) fn make_sparse(path: &Path, bytes: u64) -> Result<(), FleetError> {
    let file = OpenOptions::new().create_new(true).write(true).open(path)?;
    Ok(file.set_len(bytes)?)
}
