//! The clock of a guest.
//!
//! A guest finds out its clock's rate by counting against another while it boots. Under TCG on a busy host both counts
//! are torn, and the guest's time runs wrong for good: 4.5 times too fast has been seen. So the rate is given: under TCG
//! the guest's time stamp counter is the host's own.

use std::time::{Duration, Instant};

use procfs::{CpuInfo, Current as _};
use tokio::sync::OnceCell;

use crate::command_line::spec::Accelerator;

/// How long the host's counter is counted: an error of a microsecond at its ends is 20 millionths.
const SPAN: Duration = Duration::from_millis(50);
/// Looks at either end, of which the quickest counts.
const LOOKS: u32 = 16;

/// What a guest's kernel gets on its command line about its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GuestClock {
    /// Nothing: KVM's own paravirtual clock is right.
    Kvm,
    /// The time stamp counter with its rate, the cheapest clock to read.
    TimeStampCounter {
        /// In millions a second; the kernel finds the rest against the HPET later, if it is within a hundredth.
        mhz: u32,
    },
    /// The HPET, slower to read, where the host has no constant counter.
    Hpet,
}

impl GuestClock {
    /// What fits this host. The first call for TCG takes a twentieth of a second.
    pub async fn for_host(accelerator: Accelerator) -> Self {
        static MHZ: OnceCell<Option<u32>> = OnceCell::const_new();
        match Self::kind(accelerator) {
            Self::TimeStampCounter { .. } => MHZ
                .get_or_init(host_mhz)
                .await
                .map_or(Self::Hpet, |mhz| Self::TimeStampCounter { mhz }),
            other => other,
        }
    }

    /// The same without what is measured: a rate of 0.
    pub(crate) fn kind(accelerator: Accelerator) -> Self {
        match accelerator {
            Accelerator::Kvm => Self::Kvm,
            Accelerator::Tcg if is_constant() => Self::TimeStampCounter { mhz: 0 },
            Accelerator::Tcg => Self::Hpet,
        }
    }

    /// The kernel's arguments. `reliable`: no watchdog, whose own look at the clock a busy host delays.
    pub(crate) fn kernel_arguments(self) -> Vec<String> {
        match self {
            Self::Kvm => Vec::new(),
            Self::TimeStampCounter { mhz } => {
                vec!["tsc=reliable".into(), format!("tsc_early_khz={mhz}000")]
            }
            Self::Hpet => vec!["tsc=unstable".into(), "clocksource=hpet".into()],
        }
    }
}

/// Whether the host's counter has one rate.
fn is_constant() -> bool {
    let info = CpuInfo::current().ok();
    let flags = info.as_ref().and_then(|info| info.flags(0));
    flags.is_some_and(|flags| flags.contains(&"constant_tsc"))
}

/// The rate of the host's counter.
async fn host_mhz() -> Option<u32> {
    let (began, first) = look()?;
    tokio::time::sleep(SPAN).await;
    let (ended, last) = look()?;
    let mhz = (last - first) as f64 / ended.duration_since(began).as_secs_f64() / 1e6;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a processor's rate fits"
    )]
    Some(mhz.round() as u32)
}

/// The counter at a moment: of several looks the one that was disturbed least.
fn look() -> Option<(Instant, u64)> {
    let looks = (0..LOOKS).map(|_| {
        let before = Instant::now();
        let counter = time_stamp_counter();
        (before.elapsed(), before, counter)
    });
    let (_, moment, counter) = looks.min_by_key(|look| look.0)?;
    Some((moment, counter))
}

#[cfg(target_arch = "x86_64")]
fn time_stamp_counter() -> u64 {
    #[expect(
        unsafe_code,
        reason = "an intrinsic that reads a register of every x86_64"
    )]
    // SAFETY: the instruction touches no memory and is there on every x86_64; Linux leaves it to user space.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
}

/// Never asked: only x86 has the flag.
#[cfg(not(target_arch = "x86_64"))]
fn time_stamp_counter() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two measurements agree, on a busy host as well.
    #[tokio::test]
    async fn the_rate_is_measured() {
        if !is_constant() {
            return;
        }
        let (Some(one), Some(two)) = (host_mhz().await, host_mhz().await) else {
            return;
        };
        assert!(one.abs_diff(two) <= 1 && one > 100, "{one} and {two}");
    }
}
