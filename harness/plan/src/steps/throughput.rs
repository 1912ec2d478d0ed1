//! `throughput`: the same work several times over, of a kind that its tool can do, where there is room for it.

use std::time::Duration;

use super::{DEADLINES, Figures, PlannedStep, StepTable, Walk, names};
use crate::diagnostic::{Diagnostic, Span};
use crate::document::read::At;
use crate::document::table::table;
use crate::document::value::{Nodes, show_duration};
use crate::document::word::words;
use crate::steps::topology::Must;
use crate::steps::writes::{PAGE, SHARE, check_own, check_path};
use crate::values::names::{NodeName, StepLabel};
use crate::values::units::ByteSize;

/// What a disk's request is a multiple of.
const SECTOR: u64 = 512;
/// More than the guests' devices have room for in their queues.
const QUEUE_DEPTHS: std::ops::RangeInclusive<u32> = 1..=256;
const RUNTIMES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
const WARM_UPS: u32 = 100;
const REPETITIONS: std::ops::RangeInclusive<u32> = 1..=1000;

table! {
    /// Measures throughput: the same work several times over, each time from a common start, with what it costs.
    Written, "`throughput`", r#"{ rw = "write", bs = "1MiB", size = "64MiB" }"# {
        /// `dd`, as in the articles, or `fio`, which reports latencies.
        tool: Tool, default Tool::Dd;
        /// Who does it. Default: every node that has the volume mounted; without a file system, that has the topmost device.
        on: Nodes, optional;
        /// `write`, `read`; with fio also `randwrite`, `randread`, `rw` and `randrw`.
        rw: AccessPattern, required r#""write""#;
        /// File, relative to the mount point; `{node}` stands for the node's name. Default: `{node}.throughput`. Without a file
        /// system the topmost device is used.
        of: String, optional;
        /// Bytes of a request, a multiple of 4KiB, or of 512B where it is not `direct`.
        bs: ByteSize, required r#""1MiB""#;
        /// Bytes that each node moves in a repetition, a multiple of `bs`; with `runtime`, those that it moves among.
        size: ByteSize, required r#""64MiB""#;
        /// fio only: each repetition takes so long, 1s to 1h, however often it comes round.
        runtime: Duration, optional;
        /// fio only: requests under way at a time, 1 to 256.
        queue_depth: u32, default 1;
        /// Past the page cache.
        direct: bool, default true;
        /// When what was written is forced out: `never`, at the `end` of each repetition, or with `each` request. Default: `never`
        /// where it is `direct`, otherwise `end`.
        sync: Sync, optional;
        /// Repetitions that are done first and do not count, at most 100.
        warm_up: u32, default 1;
        /// Repetitions that count, 1 to 1000.
        repetitions: u32, default 5;
    }
}

/// The same work several times over, each repetition from a common start on all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throughput {
    /// What does the work.
    pub tool: Tool,
    /// Who does it; never empty.
    pub on: Vec<NodeName>,
    /// The order of requests, and which way they go.
    pub pattern: AccessPattern,
    /// On what.
    pub target: Target,
    /// Bytes of a request.
    pub bs: ByteSize,
    /// Bytes that each node moves in a repetition, a multiple of `bs`; with `runtime`, those that it moves among.
    pub size: ByteSize,
    /// fio only: each node goes on so long, however often it comes round.
    pub runtime: Option<Duration>,
    /// Requests under way at a time; dd has 1.
    pub queue_depth: u32,
    /// Past the page cache (`O_DIRECT`).
    pub direct: bool,
    /// When what was written is forced out.
    pub sync: Sync,
    /// Repetitions that are done first and are no figures.
    pub warm_up: u32,
    /// Repetitions that count; at least 1.
    pub repetitions: u32,
}

words! {
    /// What does a throughput step's work.
    pub Tool, "tool", "tools", "a tool", r#""dd""# {
        /// coreutils' dd, as in the articles: sequential, one request at a time.
        Dd = "dd",
        /// fio, with latencies.
        Fio = "fio",
    }
}

words! {
    /// Order and direction of requests, in fio's words.
    pub AccessPattern, "access pattern", "access patterns", "an access pattern", r#""write""# {
        /// Writes, one after the other.
        Write = "write",
        /// Reads, one after the other.
        Read = "read",
        /// Writes in random order.
        RandWrite = "randwrite",
        /// Reads in random order.
        RandRead = "randread",
        /// Reads and writes, half and half, one after the other.
        ReadWrite = "rw",
        /// Reads and writes, half and half, in random order.
        RandReadWrite = "randrw",
    }
}

impl AccessPattern {
    /// Whether anything is written.
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Read | Self::RandRead)
    }

    /// Whether anything is read.
    pub const fn reads(self) -> bool {
        !matches!(self, Self::Write | Self::RandWrite)
    }
}

/// What a throughput step works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file under the mount point; `{node}` stands for the node's name.
    File(String),
    /// The topmost device that the layers make, without a file system: the node at place N of `on` works on the N-th stretch
    /// of `size` bytes.
    Device,
}

words! {
    /// When written data is forced out of caches.
    pub Sync, "time to force out", "times to force out", "a time to force out", r#""end""# {
        /// Left to the kernel.
        Never = "never",
        /// One fsync at the end of each repetition, inside of its time.
        End = "end",
        /// Each request is a synchronous one (`O_DSYNC`).
        Each = "each",
    }
}

impl StepTable for Written {
    type Planned = Throughput;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<Throughput> {
        let volume = walk.topology.resolved_stack.file_system.is_some();
        walk.check_tool(self);
        walk.check_sizes(self);
        walk.check_repetitions(self);
        let must = if volume {
            Must::HaveMounted
        } else {
            Must::HaveDevice
        };
        let on = walk
            .topology
            .choose(self.on.as_ref(), must, span, walk.mistakes);
        if let Some(on) = &on {
            let why = "what is measured here would be shared with it";
            walk.topology.check_idle(on, span, why, walk.mistakes);
        }
        let target = walk.target(self, span, volume, on.as_deref().unwrap_or_default());
        let pattern = self.rw.as_ref()?.value;
        let throughput = Throughput {
            tool: self.tool.as_ref()?.value,
            on: on?,
            pattern,
            target: target?,
            bs: self.bs.as_ref()?.value,
            size: self.size.as_ref()?.value,
            runtime: self.runtime.as_ref().map(|runtime| runtime.value),
            queue_depth: self.queue_depth.as_ref()?.value,
            direct: self.direct.as_ref()?.value,
            sync: walk.sync(self, pattern)?,
            warm_up: self.warm_up.as_ref()?.value,
            repetitions: self.repetitions.as_ref()?.value,
        };
        walk.check_room(&throughput, self.size.as_ref()?);
        walk.check_memory(&throughput, self);
        Some(throughput)
    }
}

impl PlannedStep for Throughput {
    fn deadline(&self, walk: &Walk<'_>) -> Duration {
        deadline(self, walk.topology.node_set.nodes.len())
    }

    fn figures(&self) -> Figures {
        Figures::Repeated
    }

    fn describe(&self) -> String {
        let tool = self.tool.as_str();
        let pattern = self.pattern.as_str();
        let target = match &self.target {
            Target::File(of) => of.as_str(),
            Target::Device => "the topmost device",
        };
        let amount = match self.runtime {
            Some(runtime) => format!(
                "{} s of {pattern} among {} of",
                runtime.as_secs_f32(),
                self.size
            ),
            None => format!("{pattern} {} of", self.size),
        };
        let cache = if self.direct { "direct" } else { "buffered" };
        let depth = match self.queue_depth {
            1 => String::new(),
            deep => format!(", {deep} at a time"),
        };
        let sync = match self.sync {
            Sync::Never => "",
            Sync::End => ", fsync at the end",
            Sync::Each => ", each forced out",
        };
        format!(
            "measure {tool}: {amount} {target} on {} by {}, {cache}{depth}{sync}; {} + {} times",
            names(&self.on),
            self.bs,
            self.warm_up,
            self.repetitions
        )
    }
}

impl Walk<'_> {
    /// dd does one thing after another.
    fn check_tool(&mut self, entry: &Written) {
        let only_fio = |span: &Span, what: &str, help: &str| {
            Diagnostic::at(span, format!("`dd` cannot {what}"))
                .label("fio can")
                .help(help)
        };
        if entry
            .tool
            .as_ref()
            .is_some_and(|tool| tool.value == Tool::Dd)
        {
            let ordered =
                |rw: AccessPattern| matches!(rw, AccessPattern::Write | AccessPattern::Read);
            if let Some(rw) = entry.rw.as_ref().filter(|rw| !ordered(rw.value)) {
                self.mistakes.note(only_fio(
                    &rw.span,
                    &format!("do `{}`", rw.as_str()),
                    r#"add `tool = "fio"`, or give `write` or `read`"#,
                ));
            }
            if let Some(runtime) = &entry.runtime {
                self.mistakes.note(only_fio(
                    &runtime.span,
                    "work for a given time",
                    r#"add `tool = "fio"`, or drop `runtime`: dd moves `size`"#,
                ));
            }
            if let Some(depth) = entry.queue_depth.as_ref().filter(|depth| depth.value > 1) {
                self.mistakes.note(only_fio(
                    &depth.span,
                    "do several requests at a time",
                    r#"add `tool = "fio"`, or drop `queue_depth`"#,
                ));
            }
        }
        if let Some(runtime) = &entry.runtime
            && !(RUNTIMES.0..=RUNTIMES.1).contains(&runtime.value)
        {
            self.note_out_of_range(
                &runtime.span,
                &format!("`runtime`: {}", show_duration(&runtime.value)),
                "give 1s to 60m",
            );
        }
        let Some(depth) = &entry.queue_depth else {
            return;
        };
        if !QUEUE_DEPTHS.contains(&depth.value) {
            let (least, most) = (QUEUE_DEPTHS.start(), QUEUE_DEPTHS.end());
            self.note_out_of_range(
                &depth.span,
                &format!("`queue_depth`: {}", depth.value),
                &format!("give {least} to {most}"),
            );
        } else if depth.value > 1
            && let Some(direct) = entry.direct.as_ref().filter(|direct| !direct.value)
        {
            self.mistakes.note(
                Diagnostic::at(
                    &depth.span,
                    "several requests at a time through the page cache",
                )
                .label("the kernel takes them one by one")
                .also(&direct.span, "buffered")
                .help("drop `direct = false`, or `queue_depth`"),
            );
        }
    }

    fn note_out_of_range(&mut self, span: &Span, what: &str, help: &str) {
        self.mistakes.note(
            Diagnostic::at(span, format!("impossible {what}"))
                .label("out of range")
                .help(help),
        );
    }

    fn check_sizes(&mut self, entry: &Written) {
        let (Some(bs), Some(direct)) = (&entry.bs, &entry.direct) else {
            return;
        };
        let (unit, why) = if direct.value {
            (PAGE, "requests go past the page cache")
        } else {
            (SECTOR, "disks have sectors of 512 bytes")
        };
        if bs.bytes() == 0 || !bs.bytes().is_multiple_of(unit) {
            self.mistakes.note(
                Diagnostic::at(&bs.span, format!("impossible block size: {}", bs.value))
                    .label(why)
                    .help(format!(
                        "give a multiple of {}, such as `1MiB`",
                        ByteSize::from_bytes(unit)
                    )),
            );
            return;
        }
        if let Some(size) = &entry.size
            && (size.bytes() == 0 || !size.bytes().is_multiple_of(bs.bytes()))
        {
            let blocks = size.bytes().div_ceil(bs.bytes()).max(1);
            let fitting = ByteSize::from_bytes(blocks.saturating_mul(bs.bytes()));
            self.mistakes.note(
                Diagnostic::at(&size.span, format!("impossible size: {}", size.value))
                    .label("not whole blocks")
                    .also(&bs.span, format!("a block is {}", bs.value))
                    .help(format!("give a multiple of the block, such as `{fitting}`")),
            );
        }
    }

    fn check_repetitions(&mut self, entry: &Written) {
        if let Some(warm_up) = entry
            .warm_up
            .as_ref()
            .filter(|count| count.value > WARM_UPS)
        {
            self.note_out_of_range(
                &warm_up.span,
                &format!("`warm_up`: {}", warm_up.value),
                &format!("give 0 to {WARM_UPS}"),
            );
        }
        if let Some(count) = entry
            .repetitions
            .as_ref()
            .filter(|count| !REPETITIONS.contains(&count.value))
        {
            let (least, most) = (REPETITIONS.start(), REPETITIONS.end());
            self.note_out_of_range(
                &count.span,
                &format!("`repetitions`: {}", count.value),
                &format!("give {least} to {most}"),
            );
        }
    }

    fn target(
        &mut self,
        entry: &Written,
        span: &Span,
        volume: bool,
        on: &[NodeName],
    ) -> Option<Target> {
        if !volume {
            if let Some(of) = entry
                .of
                .as_ref()
                .filter(|_| self.topology.resolved_stack.whole)
            {
                self.mistakes.note(
                    Diagnostic::at(&of.span, "a file without a file system")
                        .label("there is no volume")
                        .help("drop `of`: the topmost device is measured then; or add a file system: `o2cb` and `ocfs2`, or `dlm` and `gfs2`"),
                );
            }
            return Some(Target::Device);
        }
        let of = entry.of.clone().unwrap_or_else(|| At {
            value: "{node}.throughput".to_owned(),
            span: span.clone(),
        });
        check_path(&of, &self.topology, self.mistakes);
        let who = if entry.rw.as_ref()?.value.writes() {
            "writers"
        } else {
            "readers"
        };
        check_own(&of, who, on, self.mistakes);
        self.topology.write(&of, on, false, self.mistakes);
        Some(Target::File(of.value))
    }

    fn sync(&mut self, entry: &Written, pattern: AccessPattern) -> Option<Sync> {
        let direct = entry.direct.as_ref()?.value;
        let Some(sync) = &entry.sync else {
            let left = direct || !pattern.writes();
            return Some(if left { Sync::Never } else { Sync::End });
        };
        if !pattern.writes() {
            self.mistakes.note(
                Diagnostic::at(&sync.span, format!("`sync` of `{}`", pattern.as_str()))
                    .label("nothing is written")
                    .help("drop `sync`"),
            );
        }
        Some(sync.value)
    }

    /// Every node has a file, or a stretch of the device, of its own.
    fn check_room(&mut self, throughput: &Throughput, size: &At<ByteSize>) {
        let nodes = throughput.on.len() as u64;
        let all = throughput.size.bytes().saturating_mul(nodes);
        let resolved_stack = self.topology.resolved_stack;
        let (room, what) = match throughput.target {
            Target::File(_) => (resolved_stack.volume, "a volume"),
            Target::Device => (resolved_stack.smallest_device(&throughput.on), "a device"),
        };
        let Some(room) = room.filter(|room| all > room.bytes()) else {
            return;
        };
        let fitting = room.bytes() / nodes.max(1);
        let block = throughput.bs.bytes().max(1);
        let help = match fitting / block * block {
            0 => "give larger disks".to_owned(),
            fitting => format!(
                "give at most {} to each node, or larger disks",
                ByteSize::from_bytes(fitting)
            ),
        };
        self.mistakes.note(
            Diagnostic::at(
                &size.span,
                format!(
                    "does not fit: {nodes} times {} on {what} of {room}",
                    throughput.size
                ),
            )
            .label("too much")
            .help(help),
        );
    }

    /// dd's bytes are random ones that were made in memory before; fio keeps the requests there that are under way.
    fn check_memory(&mut self, throughput: &Throughput, entry: &Written) -> Option<()> {
        let block = throughput.bs.bytes();
        let (bytes, place, what) = match throughput.tool {
            Tool::Dd => (
                throughput.size.bytes(),
                &entry.size.as_ref()?.span,
                "random bytes",
            ),
            Tool::Fio => (
                block.saturating_mul(u64::from(throughput.queue_depth)),
                &entry.bs.as_ref()?.span,
                "requests under way",
            ),
        };
        let node_set = self.topology.node_set;
        let nodes = throughput.on.iter().filter_map(|name| node_set.get(name));
        let small = nodes.min_by_key(|node| node.hardware.memory);
        let node = small.filter(|node| bytes > node.hardware.memory.bytes() / SHARE)?;
        let room = ByteSize::from_mib((node.hardware.memory.bytes() / SHARE) >> 20);
        self.mistakes.note(
            Diagnostic::at(
                place,
                format!(
                    "{} of {what} do not fit the memory of `{}`",
                    ByteSize::from_bytes(bytes),
                    node.name
                ),
            )
            .label("kept in memory")
            .also(
                node_set.span(node),
                format!("`{}` has {}", node.name, node.hardware.memory),
            )
            .help(format!(
                "keep to {room}, a third of the memory, or give `{}` more",
                node.name
            )),
        );
        None
    }
}

/// Generous: every pass over the data is given half a second a MiB and a fiftieth of a second a request; beside the
/// repetitions there is one before them, and one for each of `readers` that reads everything back.
fn deadline(throughput: &Throughput, readers: usize) -> Duration {
    let writers = throughput.on.len() as u64;
    let requests = throughput.size.bytes() / throughput.bs.bytes().max(1);
    let pass = ((throughput.size.bytes() >> 20) / 2)
        .saturating_add(requests / 50)
        .saturating_mul(writers);
    let times = u64::from(throughput.warm_up).saturating_add(u64::from(throughput.repetitions));
    let others = (1 + readers as u64).saturating_mul(pass);
    let measured = match throughput.runtime {
        Some(runtime) => times.saturating_mul(runtime.as_secs().saturating_add(10)),
        None => times.saturating_mul(pass),
    };
    let seconds = 240_u64.saturating_add(others).saturating_add(measured);
    Duration::from_secs(seconds).min(DEADLINES.1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{AccessPattern, Sync, Target, Throughput, Tool, deadline};
    use crate::values::names::NodeName;
    use crate::values::units::ByteSize;

    #[test]
    fn deadlines_grow_with_what_is_done() {
        let one = Throughput {
            tool: Tool::Dd,
            on: vec![NodeName::parse("a").unwrap()],
            pattern: AccessPattern::Write,
            target: Target::Device,
            bs: ByteSize::from_mib(1),
            size: ByteSize::from_mib(100),
            runtime: None,
            queue_depth: 1,
            direct: true,
            sync: Sync::Never,
            warm_up: 1,
            repetitions: 5,
        };
        let seconds = |throughput: &Throughput| deadline(throughput, 2).as_secs();
        assert_eq!(seconds(&one), 240 + 9 * 52); // 1 + 5 repetitions, 1 before, 2 readers
        let twice = Throughput {
            on: [one.on.clone(), one.on.clone()].concat(),
            ..one.clone()
        };
        assert_eq!(seconds(&twice), 240 + 9 * 104);
        let small = Throughput {
            bs: ByteSize::from_bytes(4096),
            ..one.clone()
        };
        assert_eq!(seconds(&small), 240 + 9 * (50 + 512));
        let timed = Throughput {
            runtime: Some(Duration::from_secs(30)),
            ..one.clone()
        };
        assert_eq!(seconds(&timed), 240 + 6 * 40 + 3 * 52);
        let endless = Throughput {
            size: ByteSize::from_mib(1 << 20),
            repetitions: 1000,
            ..one
        };
        assert_eq!(seconds(&endless), 24 * 3600);
    }
}
