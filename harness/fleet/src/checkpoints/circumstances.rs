//! What a host must have in common with another so that a fleet that was saved whole there goes on here.

use std::collections::BTreeMap;

use procfs::{CpuInfo, Current as _};
use sanlab_vm::{Accelerator, GuestClock};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::FleetError;
use crate::host::capacity::{self, Capacity};
use crate::nodes::boot;
use crate::nodes::emulator;
use crate::spec::FleetSpec;

/// Clocks of guests that run wrong by less are not told: the kernel's own measure is not better.
const CLOCKS_DIFFER: f64 = 0.01;

/// What runs a fleet's guests, and what they find in their machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Circumstances {
    /// By architecture.
    pub emulators: BTreeMap<String, EmulatorUse>,
    /// The vendor of the host's processor, as CPUID says it.
    pub processor: String,
    /// The rate of the time stamp counter that guests under TCG see, in millions a second; none under KVM, which corrects it, and
    /// where they use another clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_mhz: Option<u32>,
    /// By member, the SHA-256 of its devices.
    pub machines: BTreeMap<String, String>,
}

/// What executes the guests of one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmulatorUse {
    /// QEMU's version, `7.2.22`.
    pub qemu: String,
    /// `kvm` or `tcg`.
    pub accelerator: String,
}

/// Why a fleet does not go on here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// A guest's devices are those of its QEMU.
    #[error(
        "its {arch} guests were saved by QEMU {saved}, and this host runs them on QEMU {here}; a folder with the programs of QEMU {saved} is named by `--set qemu=DIR`"
    )]
    Qemu {
        /// The guests' architecture.
        arch: String,
        /// The version then.
        saved: String,
        /// The version here.
        here: String,
    },
    /// What a guest has found out about its processor.
    #[error(
        "its {arch} guests ran on {saved}, and would run on {here} here: a saved guest goes on only on what it ran on"
    )]
    Accelerator {
        /// The guests' architecture.
        arch: String,
        /// Then.
        saved: String,
        /// Here.
        here: String,
    },
    /// The same.
    #[error("its guests ran on KVM on a processor of {saved}, and this host's is of {here}")]
    Processor {
        /// The vendor then.
        saved: String,
        /// The vendor here.
        here: String,
    },
    /// Another version of the lab.
    #[error(
        "the machine of its node {node} had other devices than this version of sanlab gives it"
    )]
    Machine {
        /// The first of them.
        node: String,
    },
}

/// Those of a fleet of this spec on this host.
pub async fn circumstances(spec: &FleetSpec) -> Result<Circumstances, FleetError> {
    let emulators = emulator::find(spec).await?;
    let mut machines = BTreeMap::new();
    for member in spec.expected() {
        let machine = boot::base_spec(member, spec, &emulators)?;
        let devices = Sha256::digest(sanlab_vm::devices(&machine));
        machines.insert(member.name.clone(), hex::encode(devices));
    }
    let mut clock_mhz = None;
    for emulator in emulators.values() {
        let accelerator = emulator.accelerator.accelerator;
        if accelerator == Accelerator::Tcg
            && let GuestClock::TimeStampCounter { mhz } = GuestClock::for_host(accelerator).await
        {
            clock_mhz = Some(mhz);
        }
    }
    let info = CpuInfo::current().ok();
    let vendor = info.as_ref().and_then(|info| info.vendor_id(0));
    Ok(Circumstances {
        emulators: emulators
            .iter()
            .map(|(arch, emulator)| {
                let used = EmulatorUse {
                    qemu: number(&emulator.version).to_owned(),
                    accelerator: emulator.accelerator.accelerator.to_string(),
                };
                (arch.to_string(), used)
            })
            .collect(),
        processor: vendor.unwrap_or("unknown").to_owned(),
        clock_mhz,
        machines,
    })
}

/// Sees that this machine has the memory for a fleet, when nothing else runs.
pub fn check_memory(spec: &FleetSpec) -> Result<(), FleetError> {
    let need = spec.need(capacity::cpus());
    let capacity = Capacity::of_machine()?.most;
    if need.fits(capacity) {
        return Ok(());
    }
    Err(FleetError::TooLarge { need, capacity })
}

/// The version in what QEMU prints; a distribution's own number behind it changes no device.
fn number(version: &str) -> &str {
    let mut words = version.split_whitespace();
    let number = words.find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    number.unwrap_or(version)
}

impl Circumstances {
    /// Why these members of a fleet that was saved under these circumstances do not go on under those here.
    pub fn difference<'a>(
        &self,
        here: &Self,
        members: impl IntoIterator<Item = &'a str>,
    ) -> Option<Difference> {
        for (arch, saved) in &self.emulators {
            let Some(found) = here.emulators.get(arch) else {
                continue;
            };
            if saved.accelerator != found.accelerator {
                return Some(Difference::Accelerator {
                    arch: arch.clone(),
                    saved: saved.accelerator.to_uppercase(),
                    here: found.accelerator.to_uppercase(),
                });
            }
            if saved.qemu != found.qemu {
                return Some(Difference::Qemu {
                    arch: arch.clone(),
                    saved: saved.qemu.clone(),
                    here: found.qemu.clone(),
                });
            }
        }
        let kvm = Accelerator::Kvm.to_string();
        let on_kvm = self.emulators.values().any(|used| used.accelerator == kvm);
        if on_kvm && self.processor != here.processor {
            return Some(Difference::Processor {
                saved: self.processor.clone(),
                here: here.processor.clone(),
            });
        }
        let mut members = members.into_iter();
        let other = members.find(|name| self.machines.get(*name) != here.machines.get(*name));
        other.map(|node| Difference::Machine {
            node: node.to_owned(),
        })
    }

    /// How fast the clocks of such guests go here, where that is not right: 1.2 is a fifth too fast.
    pub fn clock_ratio(&self, here: &Self) -> Option<f64> {
        let (saved, here) = (self.clock_mhz?, here.clock_mhz?);
        let ratio = f64::from(here) / f64::from(saved);
        ((ratio - 1.0).abs() > CLOCKS_DIFFER).then_some(ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(accelerator: &str) -> Circumstances {
        let used = EmulatorUse {
            qemu: "7.2.22".to_owned(),
            accelerator: accelerator.to_owned(),
        };
        let machine = |name: &str| (name.to_owned(), "00ff".to_owned());
        Circumstances {
            emulators: [("x86_64".to_owned(), used)].into(),
            processor: "GenuineIntel".to_owned(),
            clock_mhz: Some(2000),
            machines: ["vix0", "vix1"].map(machine).into(),
        }
    }

    /// What is said of a fleet that ran on `accelerator` where this differs.
    fn said(accelerator: &str, change: impl FnOnce(&mut Circumstances)) -> String {
        let saved = saved(accelerator);
        let mut here = saved.clone();
        change(&mut here);
        let difference = saved.difference(&here, ["vix0", "vix1"]);
        difference.map_or_else(|| "it goes on".to_owned(), |it| it.to_string())
    }

    #[test]
    fn a_fleet_goes_on_where_its_guests_find_what_they_had() {
        let other_qemu = |here: &mut Circumstances| {
            here.emulators.get_mut("x86_64").unwrap().qemu = "10.0.2".to_owned();
        };
        let other_accelerator = |here: &mut Circumstances| {
            here.emulators.get_mut("x86_64").unwrap().accelerator = "tcg".to_owned();
        };
        let other_vendor = |here: &mut Circumstances| here.processor = "AuthenticAMD".to_owned();
        let other_machine = |here: &mut Circumstances| {
            here.machines.insert("vix1".to_owned(), "0000".to_owned());
        };
        insta::assert_snapshot!(
            [
                said("tcg", |_| ()),
                said("tcg", other_qemu),
                said("kvm", other_accelerator),
                said("kvm", other_vendor),
                said("tcg", other_vendor),
                said("tcg", other_machine),
            ]
            .join("\n"),
            @r"
        it goes on
        its x86_64 guests were saved by QEMU 7.2.22, and this host runs them on QEMU 10.0.2; a folder with the programs of QEMU 7.2.22 is named by `--set qemu=DIR`
        its x86_64 guests ran on KVM, and would run on TCG here: a saved guest goes on only on what it ran on
        its guests ran on KVM on a processor of GenuineIntel, and this host's is of AuthenticAMD
        it goes on
        the machine of its node vix1 had other devices than this version of sanlab gives it
        "
        );
    }

    #[test]
    fn clocks_that_run_wrong_are_known() {
        let saved = saved("tcg");
        let here = |mhz| Circumstances {
            clock_mhz: mhz,
            ..saved.clone()
        };
        assert_eq!(saved.clock_ratio(&here(Some(2010))), None);
        assert_eq!(saved.clock_ratio(&here(None)), None);
        assert_eq!(saved.clock_ratio(&here(Some(2500))), Some(1.25));
    }

    #[test]
    fn a_version_is_a_number() {
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)";
        assert_eq!(number(debian), "7.2.22");
        assert_eq!(number("QEMU emulator version 10.0.2"), "10.0.2");
        assert_eq!(number("odd"), "odd");
    }
}
