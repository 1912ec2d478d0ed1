//! Random reads and writes, broken links and dead servers, against a model of the device.

use std::collections::HashMap;
use std::ops::Range;

use gnbd::client::{Cookie, End, Policy};
use proptest::prelude::*;

use crate::kernel::{Answer, Kernel, settings};
use crate::server::{Quirk, Server};

/// 1 MiB, in blocks of 4 KiB.
const SECTORS: u64 = 2048;
const BLOCK: usize = 4096;
const BLOCKS: usize = 256;

#[derive(Debug, Clone)]
enum Step {
    Read {
        first: usize,
        count: usize,
    },
    Write {
        first: usize,
        count: usize,
        byte: u8,
    },
    /// Waits for all answers.
    Settle,
    Cut,
    Crash,
    Restart,
    Misbehave(Quirk),
}

fn span() -> impl Strategy<Value = (usize, usize)> {
    (0..BLOCKS).prop_flat_map(|first| (Just(first), 1..=(BLOCKS - first).min(80)))
}

fn quirk() -> impl Strategy<Value = Quirk> {
    let after = 0..6_u32;
    prop_oneof![
        after.clone().prop_map(Quirk::CloseBefore),
        after.clone().prop_map(Quirk::CloseAfter),
        after.clone().prop_map(Quirk::HalfReply),
        after.clone().prop_map(Quirk::WrongMagic),
        after.prop_map(Quirk::Unasked),
        Just(Quirk::KeepAlives),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => span().prop_map(|(first, count)| Step::Read { first, count }),
        12 => (span(), any::<u8>())
            .prop_map(|((first, count), byte)| Step::Write { first, count, byte }),
        2 => Just(Step::Settle),
        2 => Just(Step::Cut),
        1 => Just(Step::Crash),
        2 => Just(Step::Restart),
        2 => quirk().prop_map(Step::Misbehave),
    ]
}

/// What is known of each block: the bytes that it may consist of.
struct Model {
    blocks: Vec<Vec<u8>>,
    writes: HashMap<Cookie, (Range<usize>, u8)>,
    reads: HashMap<Cookie, (Range<usize>, Vec<Vec<u8>>)>,
}

impl Model {
    fn new() -> Self {
        Self {
            blocks: vec![vec![0]; BLOCKS],
            writes: HashMap::new(),
            reads: HashMap::new(),
        }
    }

    /// Whether a request would meet a write in flight, or a write a read: the block layer sends none such.
    fn overlaps(&self, span: &Range<usize>, write: bool) -> bool {
        let meets = |other: &Range<usize>| other.start < span.end && span.start < other.end;
        self.writes.values().any(|(other, _)| meets(other))
            || write && self.reads.values().any(|(other, _)| meets(other))
    }

    fn answered(&mut self, cookie: Cookie, answer: &Answer) {
        if let Some((span, byte)) = self.writes.remove(&cookie) {
            for block in &mut self.blocks[span] {
                if answer.is_ok() {
                    *block = vec![byte];
                } else {
                    block.push(byte);
                }
            }
        }
        if let Some((span, known)) = self.reads.remove(&cookie) {
            if let Ok(data) = answer {
                check(&known, data, span.start);
            }
        }
    }
}

/// Every block is one of what it may be, and whole.
fn check(known: &[Vec<u8>], data: &[u8], first: usize) {
    assert_eq!(data.len(), known.len() * BLOCK);
    for (at, (known, block)) in known.iter().zip(data.chunks(BLOCK)).enumerate() {
        let torn = block.iter().any(|byte| *byte != block[0]);
        assert!(
            !torn && known.contains(&block[0]),
            "block {} is {}, not {known:?}",
            first + at,
            block[0]
        );
    }
}

fn play(steps: &[Step], policy: Policy) {
    let mut server = Server::start(SECTORS);
    let mut kernel = Kernel::attach(settings(&server, SECTORS, policy));
    let mut model = Model::new();
    let mut alive = true;
    let settle = |kernel: &mut Kernel, model: &mut Model| {
        for (cookie, answer) in kernel.receive_all() {
            if policy == Policy::Wait {
                assert!(answer.is_ok(), "wait mode fails nothing");
            }
            model.answered(cookie, &answer);
        }
    };
    for step in steps {
        let span = match step {
            Step::Read { first, count } | Step::Write { first, count, .. } => *first..first + count,
            _ => 0..0,
        };
        // What is in flight is few enough for the relay's memory, so that sending never blocks.
        let crowded = model.writes.len() + model.reads.len() >= 12;
        let write = matches!(step, Step::Write { .. });
        if crowded || matches!(step, Step::Settle) || model.overlaps(&span, write) {
            if !alive && policy == Policy::Wait {
                server.restart();
                alive = true;
            }
            settle(&mut kernel, &mut model);
        }
        let offset = (span.start * BLOCK) as u64;
        match step {
            Step::Read { count, .. } => {
                let length = u32::try_from(count * BLOCK).unwrap();
                let cookie = kernel.send_read(offset, length);
                let known = model.blocks[span.clone()].to_vec();
                model.reads.insert(cookie, (span, known));
            }
            Step::Write { count, byte, .. } => {
                let cookie = kernel.send_write(offset, &vec![*byte; count * BLOCK]);
                model.writes.insert(cookie, (span, *byte));
            }
            Step::Cut => server.cut(),
            Step::Crash if alive => {
                server.stop();
                alive = false;
            }
            Step::Restart if !alive => {
                server.restart();
                alive = true;
            }
            Step::Misbehave(quirk) => {
                server.quirks(&[*quirk]);
                server.cut();
            }
            Step::Settle | Step::Crash | Step::Restart => {}
        }
    }
    if !alive {
        server.restart();
    }
    settle(&mut kernel, &mut model);
    if policy == Policy::Wait {
        assert_eq!(kernel.disconnect(), End::Disconnected);
    } else {
        drop(kernel);
    }
    check(&model.blocks, &server.disk(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_is_there(steps in prop::collection::vec(step(), 1..60)) {
        play(&steps, Policy::Wait);
    }

    #[test]
    fn what_failed_is_there_whole_or_not_at_all(steps in prop::collection::vec(step(), 1..40)) {
        play(&steps, Policy::FailFast(std::time::Duration::from_millis(30)));
    }
}
