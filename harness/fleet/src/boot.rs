//! From a member to the machine that it boots as.

use std::collections::BTreeMap;

use fs_err::OpenOptions;
use sanlab_plan::{Arch, NicModel};
use sanlab_vm::{AcceleratorChoice, Drive, MachineSpec, Nic, qemu_binary};

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

/// Makes the member's folder and data disk, and says what its QEMU is started with.
pub(crate) fn machine_spec(
    member: &NodeSpec,
    fleet: &FleetSpec,
    accelerators: &BTreeMap<Arch, AcceleratorChoice>,
    run_dir: &RunDir,
) -> Result<MachineSpec, FleetError> {
    let image = fleet.image(member)?;
    let missing = || FleetError::NoImage {
        node: member.name.clone(),
        arch: member.arch,
    };
    let accelerator = accelerators
        .get(&member.arch)
        .ok_or_else(missing)?
        .accelerator;
    let dir = run_dir.path().join(&member.name);
    fs_err::create_dir(&dir)?;
    let mut drives = vec![Drive {
        file: image.root.clone(),
        serial: "root".to_owned(),
        read_only: true,
    }];
    if member.disk_bytes > 0 {
        let file = dir.join("data.raw");
        // Sparse: it takes what is written.
        OpenOptions::new()
            .create_new(true)
            .write(true)
            .open(&file)?
            .set_len(member.disk_bytes)?;
        drives.push(Drive {
            file,
            serial: "data".to_owned(),
            read_only: false,
        });
    }
    Ok(MachineSpec {
        name: member.name.clone(),
        arch: vm_arch(member.arch),
        qemu: qemu_binary(vm_arch(member.arch)),
        accelerator,
        cpus: member.cpus,
        memory_mib: member.memory_mib,
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
            socket: run_dir.socket(&format!("{}/{PORT_SOCKET}", member.name))?,
            mtu: member.mtu(fleet.mtu),
        }],
        console_log: fleet.logs.join(format!("{}.console.log", member.name)),
        dir,
    })
}
