//! What runs a fleet's guests: QEMU, the accelerators, and what counts their instructions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use futures_util::future::{try_join, try_join_all};
use sanlab_plan::Arch;
use sanlab_vm::{
    AcceleratorChoice, CounterPlugin, GuestClock, NotCounted, choose_accelerator, counter_plugin,
    qemu_digest, qemu_of, qemu_version,
};

use crate::error::FleetError;
use crate::spec::{FleetSpec, NodeSpec};

/// One architecture's.
#[derive(Debug, Clone)]
pub(crate) struct Emulator {
    pub(crate) accelerator: AcceleratorChoice,
    pub(crate) program: PathBuf,
    /// As QEMU prints it.
    pub(crate) version: String,
    /// What tells this QEMU from another: the version, and of a user's own one what the program is.
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

/// Those of all architectures that a fleet has.
pub(crate) async fn find(spec: &FleetSpec) -> Result<BTreeMap<Arch, Emulator>, FleetError> {
    let archs: BTreeSet<Arch> = spec
        .members
        .iter()
        .map(|member| member.hardware.arch)
        .collect();
    let found = try_join_all(archs.into_iter().map(|arch| async move {
        let failed = |source| FleetError::Accelerator {
            arch,
            source: Box::new(source),
        };
        let program = qemu_of(spec.qemu.as_deref(), arch);
        let accelerator = choose_accelerator(spec.accelerator, arch, &program);
        let known = try_join(accelerator, qemu_version(&program)).await;
        let (accelerator, version) = known.map_err(failed)?;
        let identity = if spec.qemu.is_some() {
            let digest = qemu_digest(&program).await.map_err(failed)?;
            format!("{version}, {digest}")
        } else {
            // The host's is changed by new versions only.
            version.clone()
        };
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
