//! `memory_pressure`: a file in the memory of nodes takes what is to be away.

use sanlab_plan::MemoryPressure;

use super::Doing;
use crate::Failure;
use crate::engine::faults::nodes::NodeFault;
use crate::engine::faults::open::Mend;

/// Where a file system of its own is mounted, which has no limit but the memory.
const FOLDER: &str = "/run/sanlab/memory";

pub(super) async fn perform(doing: Doing<'_>, pressure: &MemoryPressure) -> Result<(), Failure> {
    let mend = Mend::new(|_| give_back());
    let fault = NodeFault::of(doing.step, &pressure.on, mend, pressure.lasts);
    let script = take(pressure.leaves.bytes() >> 10);
    doing.break_nodes(fault, &script).await
}

/// Takes memory until so many KiB are left, in steps: the kernel's figure is an estimate that changes with what is taken.
fn take(leaves: u64) -> String {
    format!(
        "available() {{\n\
         \x20   while read -r key value unit; do\n\
         \x20       [ $key != MemAvailable: ] || echo $value\n\
         \x20   done </proc/meminfo\n\
         }}\n\
         mkdir -p {FOLDER}\n\
         mount -t tmpfs -o size=100%,mode=0700 memory {FOLDER}\n\
         size=0\n\
         left=$(available)\n\
         if [ $left -lt {leaves} ]; then\n\
         \x20   echo \"only $left KiB of memory are available: {leaves} KiB cannot be left\" >&2\n\
         \x20   exit 1\n\
         fi\n\
         for try in 1 2 3 4; do\n\
         \x20   size=$((size + left - {leaves}))\n\
         \x20   [ $size -le 0 ] || fallocate -l $((size * 1024)) {FOLDER}/taken\n\
         \x20   left=$(available)\n\
         \x20   [ $left -gt $(({leaves} + 1024)) ] || break\n\
         done\n\
         echo \"$size KiB are taken, $left KiB are available\"\n"
    )
}

fn give_back() -> String {
    format!(
        "if mountpoint -q {FOLDER}; then umount {FOLDER}; fi\n\
         rm -rf {FOLDER}\n"
    )
}
