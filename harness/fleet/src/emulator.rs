//! What runs a fleet's guests: QEMU's version and the accelerators.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{try_join, try_join_all};
use sanlab_plan::Arch;
use sanlab_vm::{AcceleratorChoice, GuestClock, VmError, choose_accelerator, qemu_version};
use tokio::sync::OnceCell;

use crate::boot::vm_arch;
use crate::error::FleetError;
use crate::spec::FleetSpec;

/// One architecture's.
#[derive(Debug, Clone)]
pub(crate) struct Emulator {
    pub(crate) accelerator: AcceleratorChoice,
    /// As QEMU prints it.
    pub(crate) version: String,
}

/// Those of all architectures that a fleet has.
pub(crate) async fn find(spec: &FleetSpec) -> Result<BTreeMap<Arch, Emulator>, FleetError> {
    let archs: BTreeSet<Arch> = spec.members.iter().map(|member| member.arch).collect();
    let found = try_join_all(archs.into_iter().map(|arch| async move {
        let failed = |source| FleetError::Accelerator {
            arch,
            source: Box::new(source),
        };
        let accelerator = choose_accelerator(spec.accelerator, vm_arch(arch));
        let (accelerator, version) = try_join(accelerator, version(arch)).await.map_err(failed)?;
        // It takes its time once a process: now, while others wait as well.
        GuestClock::for_host(accelerator.accelerator).await;
        let emulator = Emulator {
            accelerator,
            version,
        };
        Ok::<_, FleetError>((arch, emulator))
    }))
    .await?;
    Ok(found.into_iter().collect())
}

/// Asked once a process: the answer takes QEMU a twentieth of a second.
async fn version(arch: Arch) -> Result<String, VmError> {
    static X86: OnceCell<String> = OnceCell::const_new();
    static X86_64: OnceCell<String> = OnceCell::const_new();
    let known = match arch {
        Arch::X86 => &X86,
        Arch::X86_64 => &X86_64,
    };
    let asked = known.get_or_try_init(|| qemu_version(vm_arch(arch)));
    asked.await.cloned()
}
