//! Rounds of dd: what is written are random bytes, made in the guest's memory beforehand.

use sanlab_plan::guest::{BLOCKDEV, DD, HEAD, MD5SUM, TAIL};
use sanlab_plan::{Sync, Target, Throughput, quote};

use super::{Report, Worker};
use crate::measure::dd_report;
use crate::steps::random_bytes;

/// Each round writes what the round before it wrote, moved by so many bytes: every block is another one then, and one
/// that was not written is found.
const SHIFT: u64 = 4096;
/// Requests that lay a file out, bytes.
const LAYING: u64 = 1 << 20;

/// Makes what all rounds write, or lays out what they read.
pub(super) fn preparation(throughput: &Throughput, worker: &Worker, rounds: usize) -> String {
    let Worker {
        path,
        offset,
        folder,
        ..
    } = worker;
    let (path, folder) = (quote(path), quote(folder));
    let fresh = match throughput.target {
        Target::File(_) => format!("rm -f {path}\n"),
        Target::Device => String::new(),
    };
    let size = throughput.size.bytes();
    let make = if throughput.pattern.writes() {
        let bytes = size + rounds.saturating_sub(1) as u64 * SHIFT;
        format!("{} >pattern\n", random_bytes::print(bytes))
    } else {
        // It need not fit the guest's memory.
        format!(
            "{} | {DD} of={path} bs={LAYING} iflag=fullblock oflag=seek_bytes seek={offset} conv=notrunc,fsync\n",
            random_bytes::print(size)
        )
    };
    format!(
        "rm -rf {folder}\n\
         mkdir -p {folder}\n\
         cd {folder}\n\
         {fresh}{draw}\
         {make}",
        draw = random_bytes::draw()
    )
}

/// The dd of a round, counted from 0.
pub(super) fn command(throughput: &Throughput, worker: &Worker, number: usize) -> String {
    let Worker {
        path,
        offset,
        folder,
        ..
    } = worker;
    let bs = throughput.bs.bytes();
    let count = throughput.size.bytes() / bs.max(1);
    let direct = if throughput.direct { "direct," } else { "" };
    if !throughput.pattern.writes() {
        return format!(
            "LC_ALL=C {DD} if={} of=/dev/null bs={bs} count={count} iflag={direct}skip_bytes skip={offset}",
            quote(path)
        );
    }
    let (flag, conversion) = match throughput.sync {
        Sync::Never => ("", ""),
        Sync::End => ("", ",fsync"),
        Sync::Each => ("dsync,", ""),
    };
    format!(
        "LC_ALL=C {DD} if={} of={} bs={bs} count={count} iflag=skip_bytes skip={} \
         oflag={direct}{flag}seek_bytes seek={offset} conv=notrunc{conversion}",
        quote(&format!("{folder}/pattern")),
        quote(path),
        number as u64 * SHIFT
    )
}

/// Prints the MD5 of what the round `number`, the last, left in the worker's stretch, and sees to it that it is out of the
/// worker's caches.
pub(super) fn sum(throughput: &Throughput, worker: &Worker, number: usize) -> String {
    let size = throughput.size.bytes();
    let bytes = if throughput.pattern.writes() {
        let from = number as u64 * SHIFT + 1;
        format!("{TAIL} -c +{from} pattern | {HEAD} -c {size}")
    } else {
        random_bytes::print(size)
    };
    format!(
        "sync\n\
         cd {}\n\
         {bytes} | {MD5SUM}\n",
        quote(&worker.folder)
    )
}

/// Prints the MD5 of what is in a worker's stretch, for whoever has the same file or device: past its own caches.
pub(super) fn look(throughput: &Throughput, worker: &Worker) -> String {
    let Worker { path, offset, .. } = worker;
    let (path, size) = (quote(path), throughput.size.bytes());
    let direct = if throughput.direct { "direct," } else { "" };
    let flush = match throughput.target {
        Target::File(_) => String::new(),
        Target::Device => format!("{BLOCKDEV} --flushbufs {path}\n"),
    };
    format!(
        "set -o pipefail\n\
         echo 1 >/proc/sys/vm/drop_caches\n\
         {flush}{DD} if={path} bs={LAYING} iflag={direct}fullblock,skip_bytes,count_bytes skip={offset} count={size} 2>/dev/null | \
         {MD5SUM}\n"
    )
}

/// What a dd said of itself.
pub(super) fn report(throughput: &Throughput, stderr: &str) -> Result<Report, String> {
    let size = throughput.size.bytes();
    let report = dd_report::parse(stderr).filter(|report| report.bytes == size);
    let report = report.ok_or_else(|| {
        let said = stderr.trim_end();
        format!("it must move {size} bytes, but said: {said}")
    })?;
    Ok(Report {
        bytes: report.bytes,
        seconds: report.seconds,
        latency: None,
    })
}

#[cfg(test)]
mod tests {
    use sanlab_plan::{AccessPattern, ByteSize, NodeName};

    use super::*;
    use crate::backend::fake_fleet::throughput;

    fn worker() -> Worker {
        Worker {
            node: NodeName::parse("vix1").unwrap(),
            path: "/mnt/nbdsan/vix1.throughput".to_owned(),
            offset: 0,
            folder: "/run/sanlab/load".to_owned(),
        }
    }

    #[test]
    fn rounds_write_over_a_file_in_place() {
        let write = throughput(&["vix1"], AccessPattern::Write);
        let scripts = [
            preparation(&write, &worker(), 3),
            command(&write, &worker(), 2),
            sum(&write, &worker(), 2),
            look(&write, &worker()),
        ];
        insta::assert_snapshot!(scripts.join("\n---\n"));
    }

    #[test]
    fn rounds_read_a_stretch_of_a_device() {
        let read = Throughput {
            target: Target::Device,
            bs: ByteSize::from_bytes(4096),
            direct: false,
            ..throughput(&["vix0", "vix1"], AccessPattern::Read)
        };
        let worker = Worker {
            path: "/dev/mapper/pair".to_owned(),
            offset: 4 << 20,
            ..worker()
        };
        let scripts = [
            preparation(&read, &worker, 3),
            command(&read, &worker, 2),
            sum(&read, &worker, 2),
            look(&read, &worker),
        ];
        insta::assert_snapshot!(scripts.join("\n---\n"));
    }

    #[test]
    fn data_is_forced_out_when_the_step_says_so() {
        let with = |sync| {
            let write = Throughput {
                sync,
                ..throughput(&["vix1"], AccessPattern::Write)
            };
            command(&write, &worker(), 0)
        };
        assert!(with(Sync::End).ends_with("oflag=direct,seek_bytes seek=0 conv=notrunc,fsync"));
        assert!(with(Sync::Each).ends_with("oflag=direct,dsync,seek_bytes seek=0 conv=notrunc"));
    }

    #[test]
    fn a_report_of_less_is_none() {
        let write = throughput(&["vix1"], AccessPattern::Write);
        let said =
            |bytes: u64| format!("{bytes} bytes (4.2 MB, 4.0 MiB) copied, 0.5 s, 8.4 MB/s\n");
        assert_eq!(report(&write, &said(4 << 20)).unwrap().bytes, 4 << 20);
        let error = report(&write, &said(3 << 20)).unwrap_err();
        assert!(
            error.starts_with("it must move 4194304 bytes, but said: 3145728"),
            "{error}"
        );
    }
}
