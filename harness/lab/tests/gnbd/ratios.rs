//! How fast GNBD is beside NBD: one disk, one client, one connection each, in turns.
//!
//! Both exports are cached, so that both servers read from the same page cache, and both force each write to the disk before
//! they answer it (GNBD by `O_SYNC`, nbdkit by its filter `fua`).

use libtest_mimic::Failed;

use crate::ground::{CLIENT, Ground, Guests, SERVERS};

const ROUNDS: usize = 5;
const GNBD: &str = "/dev/nbd0";
const NBD: &str = "/dev/nbd2";

/// A measure: its name and unit, the least ratio of GNBD to NBD, and a script that prints `AMOUNT SECONDS` for `$device`.
const MEASURES: [(&str, f64, &str); 2] = [
    (
        "sequential write of 1 MiB, MiB/s",
        0.7,
        "/bin/dd if=/dev/zero of=$device bs=1M count=48 oflag=direct 2>&1 |
            awk '/ copied, / { sub(/.* copied, /, \"\"); print 48, $1 }'",
    ),
    (
        "random read of 4 KiB, 16 in flight, IOPS",
        0.5,
        // `1234 reads in 2.001 s`
        "gnbd_load -d $device -b 4096 -q 16 -s 2 | awk '{ print $1, $4 }'",
    ),
];

pub(crate) async fn of_gnbd_to_nbd(ground: &Ground) -> Result<(), Failed> {
    let guests = ground.guests(1, 256).await?;
    connect(&guests).await?;
    let mut wrong = Vec::new();
    for (what, least, script) in MEASURES {
        let (mut gnbd, mut nbd) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            for turn in 0..2 {
                let (device, figures) = if (round + turn) % 2 == 0 {
                    (GNBD, &mut gnbd)
                } else {
                    (NBD, &mut nbd)
                };
                figures.push(rate(&guests, &format!("device={device}; {script}")).await?);
            }
        }
        // Round by round: what else the host does falls on both of a round.
        let ratio = median(gnbd.iter().zip(&nbd).map(|(gnbd, nbd)| gnbd / nbd));
        if ratio < least {
            wrong.push(format!(
                "{what}: GNBD {gnbd:.1?}, NBD {nbd:.1?}; the median of the rounds' ratios is {ratio:.2}, at least {least} is wanted"
            ));
        }
    }
    guests.end().await?;
    if wrong.is_empty() {
        return Ok(());
    }
    Err(wrong.join("\n").into())
}

/// Exports the server's disk by both and imports it by both, with the same limits, or it would be no comparison.
async fn connect(guests: &Guests) -> Result<(), Failed> {
    let server = SERVERS[0];
    guests.serve(server, "-c").await?;
    // nbdkit maps more memory than this guest has, and dies when it is refused.
    let nbdkit = "echo 1 >/proc/sys/vm/overcommit_memory\n\
                  nbdkit --port=10809 --filter=fua file /dev/vdb fuamode=force\n";
    guests.run(server, nbdkit).await?;
    let import = format!(
        "gnbd_import -n -i {server} >&2\n\
         nbd-client {server} 10809 {NBD} -b 512 >&2\n\
         for device in {GNBD} {NBD}; do\n\
             cd /sys/block/${{device#/dev/}}\n\
             echo $(cat size queue/logical_block_size queue/max_sectors_kb queue/nr_requests queue/scheduler queue/read_ahead_kb)\n\
         done\n"
    );
    let limits = guests.run(CLIENT, &import).await?;
    let mut different: Vec<&str> = limits.lines().collect();
    different.dedup();
    if different.len() == 1 {
        return Ok(());
    }
    Err(format!("the devices have different limits:\n{limits}").into())
}

/// What a script's `AMOUNT SECONDS` make a second.
async fn rate(guests: &Guests, script: &str) -> Result<f64, Failed> {
    let text = guests.run(CLIENT, script).await?;
    let numbers: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
    match numbers.as_deref() {
        Ok([amount, seconds]) if *amount > 0.0 && *seconds > 0.0 => Ok(amount / seconds),
        _ => Err(format!("`{script}` printed {text:?}, not an amount and seconds").into()),
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
