//! How long a scenario may take, from its plan alone. Only proportions count: what a host makes of it, durations tell.

use sanlab_plan::{Action, Plan, Step};

/// Looking for checkpoints, starting guests, the last look, ending them.
const FLEET: f64 = 6.0;
/// Booting or cloning a node.
const NODE: f64 = 2.5;
/// Bringing up a layer, and its part on each node.
const LAYER: f64 = 1.0;
const LAYER_ON_NODE: f64 = 0.3;
/// A step that does little.
const STEP: f64 = 1.0;
/// A node joins the running cluster, or comes back.
const JOIN: f64 = 12.0;
/// Others must notice a loss and recover.
const LOSS: f64 = 10.0;
/// Something is waited for, or read back.
const LOOK: f64 = 4.0;
/// What all writers together move in a second, bytes.
const RATE: f64 = 40.0 * 1_048_576.0;
/// A block is written and acknowledged before the next.
const ACKNOWLEDGEMENT: f64 = 0.015;

/// Seconds, more than 0.
pub(crate) fn estimate(plan: &Plan) -> f64 {
    let nodes = plan.at_start().count() as f64 * NODE;
    let layers = plan.layers.iter();
    let layers = layers.map(|placed| LAYER + placed.on.len() as f64 * LAYER_ON_NODE);
    let steps = plan.steps.iter().map(step);
    FLEET + nodes + layers.chain(steps).sum::<f64>()
}

fn step(step: &Step) -> f64 {
    let seconds = match &step.action {
        Action::Dd(dd) => STEP + moved(dd.bytes(), dd.on.len()),
        Action::Write(write) => {
            let interval = write.interval.unwrap_or_default().as_secs_f64();
            let waits = write.count as f64 * interval.max(ACKNOWLEDGEMENT);
            let bytes = write.count.saturating_mul(write.bs.bytes());
            STEP + waits.max(moved(bytes, write.on.len()))
        }
        Action::Throughput(work) => {
            let once = work.runtime.map_or_else(
                || moved(work.size.bytes(), work.on.len()),
                |runtime| runtime.as_secs_f64(),
            );
            f64::from(work.warm_up + work.repetitions) * (STEP + once)
        }
        Action::Pause(pause) => STEP + pause.lasts.as_secs_f64(),
        Action::Crash(crash) => LOSS + crash.within.as_secs_f64() / 2.0,
        Action::AddNode(_) | Action::Restart(_) | Action::RemoveNode(_) => JOIN,
        Action::Wait(_) | Action::WaitFor(_) | Action::Verify(_) | Action::Check(_) => LOOK,
        Action::Partition(_) | Action::Link(_) | Action::StopProcess(_) | Action::DiskFault(_) => {
            LOSS
        }
        Action::Mount(_)
        | Action::Unmount(_)
        | Action::Run(_)
        | Action::Start(_)
        | Action::Degrade(_)
        | Action::Clock(_)
        | Action::MemoryPressure(_)
        | Action::Heal(_)
        | Action::Dip(_) => STEP,
    };
    step.after.as_secs_f64() + seconds
}

fn moved(bytes_each: u64, nodes: usize) -> f64 {
    bytes_each as f64 * nodes as f64 / RATE
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use sanlab_plan::{ByteSize, Write};

    use super::*;

    fn of(nodes: &str, steps: &str) -> f64 {
        let text = format!(
            "name = \"a suite\"\nnodes = {{ \"{nodes}\" = {{ arch = \"x86\" }} }}\n\
             layer = [{{ nbd = {{ disk = \"64MiB\" }} }}]\n{steps}"
        );
        estimate(&sanlab_plan::parse(Path::new("a.toml"), &text).unwrap())
    }

    #[test]
    fn more_nodes_more_steps_and_more_to_write_take_longer() {
        let none = of("vix[0-1]", "");
        assert!(none > 0.0);
        assert!(of("vix[0-3]", "") > none);
        let pause = |seconds: u32| {
            let step =
                format!("step = [{{ pause = {{ on = [\"vix1\"], lasts = \"{seconds}s\" }} }}]");
            of("vix[0-1]", &step)
        };
        assert!((pause(30) - pause(10) - 20.0).abs() < 1e-6);
        let after = of(
            "vix[0-1]",
            "step = [{ after = \"50s\", run = { command = \"true\" } }]",
        );
        assert!((after - none - 50.0 - STEP).abs() < 1e-6);
    }

    #[test]
    fn a_writer_takes_at_least_its_interval_for_each_block() {
        let text = "name = \"a suite\"\nnodes = { \"vix[0-1]\" = { arch = \"x86\" } }\n\
                    step = [{ run = { command = \"true\" } }]";
        let plan = sanlab_plan::parse(Path::new("a.toml"), text).unwrap();
        let write = |interval| {
            let write = Write {
                on: vec![plan.nodes[1].name.clone()],
                of: "journal".to_owned(),
                bs: ByteSize::from_bytes(4096),
                count: 600,
                interval,
                background: false,
            };
            step(&Step {
                action: Action::Write(write),
                ..plan.steps[0].clone()
            })
        };
        let paced = |milliseconds| write(Some(Duration::from_millis(milliseconds)));
        assert!((write(None) - STEP - 9.0).abs() < 1e-6);
        assert!((paced(100) - STEP - 60.0).abs() < 1e-6);
        // A disk is not faster for that.
        assert!((paced(1) - STEP - 9.0).abs() < 1e-6);
    }
}
