//! Rounds of fio. Every block that it writes holds the block's own place, so that it can be looked for afterwards.

use std::fmt::Write as _;

use sanlab_plan::guest::{BLOCKDEV, DD, FIO, MD5SUM, SHEBANG};
use sanlab_plan::{Sync, Target, Throughput, quote};

use super::Worker;
use crate::steps::gate;

/// What a shell's exit code is when it does not find a program.
pub(super) const MISSING: i32 = 127;

/// Makes the folder, and the file or stretch that is there before the first round, if one is needed.
pub(super) fn preparation(throughput: &Throughput, worker: &Worker) -> String {
    let (path, folder) = (quote(&worker.path), quote(&worker.folder));
    let mut script = format!(
        "[ -x {FIO} ] || exit {MISSING}\n\
         rm -rf {folder}\n\
         mkdir -p {folder}\n\
         cd {folder}\n"
    );
    if let Target::File(_) = throughput.target {
        // A String takes everything.
        let _ = writeln!(script, "rm -f {path}");
    }
    if !covers(throughput) {
        let job = job(throughput, worker, "lay");
        let pattern = pattern(throughput, 0);
        let _ = writeln!(
            script,
            "{job} --rw=write --direct=0 --ioengine=psync --end_fsync=1 {pattern} --do_verify=0 >said 2>&1 || {{ cat said >&2; exit 1; }}"
        );
    }
    script
}

/// Whether every round writes every block once.
fn covers(throughput: &Throughput) -> bool {
    throughput.pattern.writes() && !throughput.pattern.reads() && throughput.runtime.is_none()
}

/// Leaves programs in the gate's folder that say the words about `id`, right before and after the work: fio's own start
/// takes a second under emulation.
pub(super) fn words(id: &str) -> String {
    ["begin", "over"]
        .map(|word| {
            let text = format!("{SHEBANG}{}\n", gate::say(word, id));
            format!("printf %s {} >{word}\nchmod +x {word}\n", quote(&text))
        })
        .concat()
}

/// The fio of a round, counted from 0.
pub(super) fn command(throughput: &Throughput, worker: &Worker, number: usize) -> String {
    let mut command = format!(
        "{} --rw={} --direct={} --iodepth={} --ioengine={} --exec_prerun=./begin --exec_postrun=./over \
         --output-format=json --output=out",
        job(throughput, worker, "work"),
        throughput.pattern.as_str(),
        u8::from(throughput.direct),
        throughput.queue_depth,
        if throughput.queue_depth > 1 {
            "libaio"
        } else {
            "psync"
        },
    );
    if let Some(runtime) = throughput.runtime {
        let _ = write!(command, " --time_based --runtime={}ms", runtime.as_millis());
    }
    if throughput.pattern.writes() {
        let pattern = pattern(throughput, number);
        let sync = match throughput.sync {
            Sync::Never => "",
            Sync::End => " --end_fsync=1",
            Sync::Each => " --sync=dsync",
        };
        let _ = write!(command, " {pattern} --do_verify=0{sync}");
    }
    if throughput.pattern.writes() && throughput.pattern.reads() {
        command.push_str(" --unified_rw_reporting=1");
    }
    command
}

/// Gives fio's report on standard output, and its exit code.
pub(super) fn result(folder: &str) -> String {
    format!(
        "cd {}\nread -r code <ended\ncat out\ncat report >&2\nexit \"$code\"\n",
        quote(folder)
    )
}

/// Looks for every block in a worker's stretch, past its caches; the round `number` was the last. Then prints the stretch's
/// MD5.
///
/// It reads through the page cache, which reads ahead: small requests one after the other would take minutes.
pub(super) fn sum(throughput: &Throughput, worker: &Worker, number: usize) -> String {
    let path = quote(&worker.path);
    let flush = match throughput.target {
        Target::File(_) => String::new(),
        Target::Device => format!("{BLOCKDEV} --flushbufs {path}\n"),
    };
    format!(
        "sync\n\
         echo 1 >/proc/sys/vm/drop_caches\n\
         {flush}said=$({} --rw=read --direct=0 --ioengine=psync {} 2>&1) || {{ echo \"$said\" | head -n 4 >&2; exit 1; }}\n\
         {DD} if={path} bs=1048576 iflag=fullblock,skip_bytes,count_bytes skip={} count={} 2>/dev/null | {MD5SUM}\n",
        job(throughput, worker, "look"),
        pattern(throughput, number),
        worker.offset,
        throughput.size.bytes()
    )
}

/// What all jobs on a stretch have in common.
fn job(throughput: &Throughput, worker: &Worker, name: &str) -> String {
    format!(
        "{FIO} --name={name} --thread --filename={} --offset={} --size={} --bs={} --fallocate=none",
        quote(&worker.path),
        worker.offset,
        throughput.size.bytes(),
        throughput.bs.bytes()
    )
}

/// Blocks that hold their own place and, if every round writes all, the round's number.
fn pattern(throughput: &Throughput, number: usize) -> String {
    let round = if covers(throughput) { number } else { 0 };
    format!(
        "--verify=pattern --verify_pattern=%o{}",
        quote(&format!("\"sanlab {round:03}\""))
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sanlab_plan::{AccessPattern, ByteSize, NodeName, Tool};

    use super::*;
    use crate::backend::fake_fleet;

    fn worker() -> Worker {
        Worker {
            node: NodeName::parse("vix1").unwrap(),
            path: "/mnt/nbdsan/vix1.fio".to_owned(),
            offset: 0,
            folder: "/run/sanlab/load".to_owned(),
        }
    }

    fn fio(pattern: AccessPattern) -> Throughput {
        Throughput {
            tool: Tool::Fio,
            bs: ByteSize::from_bytes(65_536),
            ..fake_fleet::throughput(&["vix1"], pattern)
        }
    }

    fn scripts(throughput: &Throughput) -> String {
        [
            preparation(throughput, &worker()),
            command(throughput, &worker(), 2),
            sum(throughput, &worker(), 2),
        ]
        .join("\n---\n")
    }

    #[test]
    fn what_writes_everything_is_known_by_its_round() {
        insta::assert_snapshot!(scripts(&fio(AccessPattern::Write)));
    }

    #[test]
    fn what_goes_on_for_a_time_is_laid_out_before() {
        let reads = Throughput {
            runtime: Some(Duration::from_secs(3)),
            queue_depth: 8,
            ..fio(AccessPattern::RandRead)
        };
        insta::assert_snapshot!(scripts(&reads));
        let mixed = fio(AccessPattern::RandReadWrite);
        let (script, round) = (scripts(&mixed), "sanlab 000");
        assert_eq!(script.matches(round).count(), 3, "{script}");
    }

    #[test]
    fn the_words_are_programs_of_the_gate() {
        insta::assert_snapshot!(words("four writers/1"));
    }
}
