//! `sanlab bench gnbd`: how fast GNBD is beside NBD, on the same disk, in the same run, in turns.
//!
//! **The page cache.** A GNBD export is cached or uncached, and uncached means `O_DIRECT` at the server. nbdkit has no such
//! setting: its file plugin goes through the page cache, `cache=none` only advises the kernel to forget. (`O_DIRECT` cannot
//! be forced on it from outside either: its buffers are not aligned, and over a loop device with direct I/O it would
//! have a page cache again, that of the loop device.) So there are two comparisons. *Cached*: neither has `O_DIRECT`, both
//! read from the same page cache of the same disk and force each write to the disk before they answer it (`O_SYNC`;
//! `fua`, `fuamode=force`). That is the same setting on both sides. *Uncached*: GNBD with `O_DIRECT`; nbdkit with
//! `cache=none` besides, so that its reads come from the disk, too. There the page cache does nbdkit more good than harm:
//! the kernel reads ahead for it.
//!
//! **The rest is the same**: one disk, one client, one connection, blocks of 512 bytes, the driver's own limits (which
//! are compared, not believed), requests of 1 MiB that the driver cuts into 128 KiB. They take turns, and who is first
//! changes from round to round.

mod client;
mod figures;
mod host;
mod pair;
mod table;

use std::time::Instant;

use self::figures::Figures;
use self::host::HostPair;
use self::pair::{Pair, Side};
use crate::terminal::{Terminal, print};
use crate::{Exit, Lab, LabError, interrupt, watch};

/// Two kinds of exports of either server, and what is measured of each.
const CACHINGS: [Caching; 2] = [Caching::Cached, Caching::Uncached];

/// Whether the server's page cache is between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caching {
    Cached,
    Uncached,
}

impl Caching {
    const fn word(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Uncached => "uncached",
        }
    }
}

/// Measures everything `rounds` times.
pub(crate) async fn gnbd(rounds: u32) -> Result<Exit, LabError> {
    let mut terminal = Terminal::new();
    let lab = Lab::find(&std::env::current_dir()?)?;
    lab.require_host()?;
    let cancel = interrupt::cancel_on_signal()?;
    let run = lab.new_run()?;
    let plan = pair::plan()?;
    let images = {
        let lab = lab.clone();
        watch::blocking(&mut terminal, "images", &cancel, move |tell| {
            lab.images(&plan, tell)
        })
        .await?
    };
    terminal.line("two guests");
    let pair = Pair::start(images, run.scenario("gnbd", 1)?).await?;
    let mut figures = Figures::default();
    let mut measured = Ok(());
    for round in 1..=rounds {
        if cancel.is_cancelled() || measured.is_err() {
            break;
        }
        let begin = Instant::now();
        measured = measure(&pair, round, &mut figures).await;
        let seconds = begin.elapsed().as_secs_f64();
        terminal.line(&format!(
            "guests, round {round} of {rounds}: {seconds:.0} s"
        ));
    }
    let ended = pair.shutdown().await;
    measured.and(ended)?;

    let mut rows = figures.rows();
    terminal.line("the server alone, on the host");
    rows.push(HostPair::measure(&lab, rounds, &cancel).await?);
    print(&table::render(&rows))?;
    Ok(if cancel.is_cancelled() {
        Exit::Interrupted
    } else {
        Exit::Success
    })
}

/// One round in the guests.
async fn measure(pair: &Pair, round: u32, figures: &mut Figures) -> Result<(), LabError> {
    let sides = if round.is_multiple_of(2) {
        [Side::Nbd, Side::Gnbd]
    } else {
        [Side::Gnbd, Side::Nbd]
    };
    for caching in CACHINGS {
        for side in sides {
            figures.add(caching, side, pair.measure(side, caching).await?);
        }
    }
    figures.relays.push(pair.relay_mib().await?);
    Ok(())
}
