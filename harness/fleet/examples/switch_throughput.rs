//! Measures the switch alone: one station sends as fast as it can, another receives.
//!
//!     cargo run --release -p sanlab-fleet --example switch_throughput

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use sanlab_fleet::{PortSpec, Switch};

const TIME: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for bytes in [1514, 9014, 65_014] {
        measure(bytes)?;
    }
    Ok(())
}

fn measure(bytes: usize) -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let (events, _) = tokio::sync::mpsc::unbounded_channel();
    let switch = Switch::start(events)?;
    let mut guests = Vec::new();
    for name in ["from", "to", "bystander"] {
        let socket = dir.path().join(name);
        switch.add_port(&PortSpec {
            name: name.to_owned(),
            socket: socket.clone(),
            capture: None,
        })?;
        guests.push(UnixStream::connect(socket)?);
    }
    let [mut from, mut to, _bystander] =
        <[UnixStream; 3]>::try_from(guests).map_err(|_| "three were made")?;

    // "to" makes itself known: from then on nothing is flooded.
    to.write_all(&frame(2, 0xff, 64))?;
    from.read_exact(&mut [0; 68])?;

    // As QEMU does it: a write a frame; reads as they come.
    let one = frame(1, 2, bytes);
    let end = Instant::now() + TIME;
    let sender = std::thread::spawn(move || -> io::Result<()> {
        while Instant::now() < end {
            from.write_all(&one)?;
        }
        from.shutdown(std::net::Shutdown::Both)
    });
    to.set_read_timeout(Some(Duration::from_millis(200)))?;
    let (mut received, mut buffer) = (0_u64, vec![0; 70_000]);
    let begin = Instant::now();
    while let Ok(count @ 1..) = to.read(&mut buffer) {
        received += count as u64;
    }
    let seconds = begin.elapsed().as_secs_f64().min(TIME.as_secs_f64());
    sender.join().map_err(|_| "the sender panicked")??;
    let (frames, dropped) = (
        received / (bytes as u64 + 4),
        switch.counters()["to"].dropped_frames,
    );
    let line = format!(
        "{bytes:>6} bytes a frame: {:>7.0} MB/s, {:>8.0} frames/s, {dropped} dropped, switch used {:.2} CPU s a GB\n",
        (frames * bytes as u64) as f64 / seconds / 1e6,
        frames as f64 / seconds,
        thread_seconds(Path::new("/proc/self/task"))? / (received as f64 / 1e9),
    );
    Ok(io::stdout().write_all(line.as_bytes())?)
}

/// CPU seconds of the thread named `switch`.
fn thread_seconds(tasks: &Path) -> io::Result<f64> {
    for task in fs_err::read_dir(tasks)? {
        let stat = fs_err::read_to_string(task?.path().join("stat"))?;
        if let Some((_, fields)) = stat.split_once("(switch) ") {
            // utime and stime, fields 14 and 15 of proc(5), in ticks of 10 ms.
            let ticks = fields
                .split(' ')
                .skip(11)
                .take(2)
                .filter_map(|ticks| ticks.parse::<f64>().ok());
            return Ok(ticks.sum::<f64>() / 100.0);
        }
    }
    Ok(0.0)
}

/// A frame with its prefix of the stream.
fn frame(from: u8, to: u8, bytes: usize) -> Vec<u8> {
    let address = |station: u8| {
        if station == 0xff {
            [0xff; 6]
        } else {
            [0x52, 0x54, 0, 0, 0, station]
        }
    };
    let mut frame = u32::try_from(bytes)
        .unwrap_or(u32::MAX)
        .to_be_bytes()
        .to_vec();
    frame.extend([address(to), address(from)].concat());
    frame.resize(4 + bytes, 0x5a);
    frame
}
