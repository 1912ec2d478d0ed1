//! What runs a fleet's guests: QEMU, the accelerators, and what counts their instructions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::future::try_join_all;
use sanlab_image::Store;
use sanlab_plan::Arch;
use sanlab_vm::{
    AcceleratorChoice, AcceleratorWish, CounterPlugin, GuestClock, NotCounted, ProbeGuest,
    choose_accelerators, counter_plugin, qemu_digest, qemu_of, qemu_stamp, qemu_version,
};
use tokio::task::spawn_blocking;

use crate::error::FleetError;
use crate::spec::{FleetSpec, NodeSpec};

/// One architecture's.
#[derive(Debug, Clone)]
pub(crate) struct Emulator {
    pub(crate) accelerator: AcceleratorChoice,
    pub(crate) program: PathBuf,
    /// As QEMU prints it.
    pub(crate) version: String,
    /// What tells this QEMU from another: the version, and which program it is.
    pub(crate) identity: String,
    /// The plugin that counts instructions, or why they are not counted; `None`: nobody asked. It changes nothing for the
    /// guests, and is in no key.
    pub(crate) counter: Option<Result<CounterPlugin, NotCounted>>,
}

impl Emulator {
    /// The plugin that counts the member's instructions, or why they are not counted; `None`: nobody asked.
    pub(crate) fn counter_for(
        &self,
        member: &NodeSpec,
    ) -> Option<Result<CounterPlugin, NotCounted>> {
        let counter = self.counter.clone()?;
        Some(counter.and_then(|plugin| plugin.for_cpus(member.hardware.cpus)))
    }
}

/// Where processes share what they found out about KVM, in the user's store. Without a store each finds out for itself.
fn answers() -> Option<PathBuf> {
    let store = Store::open_default().ok()?;
    Some(store.root().join("accelerators"))
}

/// What would run guests here, the same for all of them: those of several architectures, with the kernels that the probe guests
/// stand for. `qemu` is a folder with QEMU's programs, instead of the host's.
pub async fn accelerators(
    wish: AcceleratorWish,
    qemu: Option<&Path>,
    guests: &BTreeMap<Arch, ProbeGuest>,
) -> Result<BTreeMap<Arch, AcceleratorChoice>, FleetError> {
    let answers = spawn_blocking(answers)
        .await
        .map_err(std::io::Error::from)?;
    let chosen = choose_accelerators(wish, qemu, guests, answers.as_deref()).await;
    chosen.map_err(|source| FleetError::NoAccelerator(Box::new(source)))
}

/// Those of all architectures that a fleet has.
pub(crate) async fn find(spec: &FleetSpec) -> Result<BTreeMap<Arch, Emulator>, FleetError> {
    let mut guests: BTreeMap<Arch, ProbeGuest> = BTreeMap::new();
    for member in &spec.members {
        let arch = member.hardware.arch;
        let release = spec
            .images
            .get(&member.name)
            .map(|image| &*image.kernel_release);
        let probe = ProbeGuest::for_kernel(arch, release.unwrap_or_default());
        // Of several kernels the most demanding one.
        let wanted = guests.entry(arch).or_insert(probe);
        *wanted = probe.max(*wanted);
    }
    let chosen = accelerators(spec.accelerator, spec.qemu.as_deref(), &guests).await?;
    let found = try_join_all(chosen.into_iter().map(|(arch, accelerator)| async move {
        let failed = |source| FleetError::Accelerator {
            arch,
            source: Box::new(source),
        };
        let program = qemu_of(spec.qemu.as_deref(), arch, accelerator.accelerator);
        let version = qemu_version(&program).await.map_err(failed)?;
        let file = if spec.qemu.is_some() {
            // It may be a copy.
            qemu_digest(&program).await
        } else {
            qemu_stamp(&program)
        };
        let identity = format!("{version}, {}", file.map_err(failed)?);
        // It takes its time once a process: now, while others wait as well.
        GuestClock::for_host(accelerator.accelerator).await;
        let counter = if spec.count_instructions {
            Some(counter_plugin(accelerator.accelerator, &program, arch).await)
        } else {
            None
        };
        let emulator = Emulator {
            accelerator,
            program,
            version,
            identity,
            counter,
        };
        Ok::<_, FleetError>((arch, emulator))
    }))
    .await?;
    Ok(found.into_iter().collect())
}

/// The members that were to be counted and cannot be, by the reason.
pub(crate) fn not_counted(
    spec: &FleetSpec,
    emulators: &BTreeMap<Arch, Emulator>,
) -> BTreeMap<String, Vec<String>> {
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for member in &spec.members {
        let emulator = emulators.get(&member.hardware.arch);
        if let Some(Err(reason)) = emulator.and_then(|emulator| emulator.counter_for(member)) {
            let names = reasons.entry(reason.to_string()).or_default();
            names.push(member.name.clone());
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use sanlab_record::EventKind;
    use sanlab_vm::{Accelerator, PluginApi};

    use super::*;
    use crate::nodes::identity::tests::fleet;

    fn emulators(counter: Option<Result<CounterPlugin, NotCounted>>) -> BTreeMap<Arch, Emulator> {
        let emulator = Emulator {
            accelerator: AcceleratorChoice {
                accelerator: Accelerator::Tcg,
                reason: String::new(),
            },
            program: "qemu".into(),
            version: "7.2".to_owned(),
            identity: "7.2".to_owned(),
            counter,
        };
        Arch::ALL.map(|arch| (arch, emulator.clone())).into()
    }

    #[test]
    fn who_is_not_counted_is_told_with_the_reason() {
        let mut spec = fleet();
        spec.members[1].hardware.cpus = 2;
        assert!(not_counted(&spec, &emulators(None)).is_empty());
        let plugin = |api| {
            let file = "plugin.so".into();
            Ok(CounterPlugin { file, api })
        };
        let several = emulators(Some(plugin(PluginApi::V2)));
        assert!(not_counted(&spec, &several).is_empty());
        let one = emulators(Some(plugin(PluginApi::V1)));
        let none = emulators(Some(Err(NotCounted::Refused("no plugins".to_owned()))));
        let told = [one, none].map(|emulators| {
            let reasons = not_counted(&spec, &emulators);
            let reasons = reasons
                .into_iter()
                .map(|(reason, nodes)| EventKind::NotCounted { nodes, reason }.to_string());
            reasons.collect::<Vec<_>>().join("\n")
        });
        insta::assert_snapshot!(told.join("\n\n"));
    }
}
