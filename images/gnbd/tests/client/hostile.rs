//! The fuzz targets of the client, over inputs that are made here: `GNBD_FUZZ_INPUTS` says how many.

use gnbd::client::fuzz::Bench;

fn inputs() -> u64 {
    std::env::var("GNBD_FUZZ_INPUTS").map_or(20_000, |count| count.parse().unwrap())
}

/// Bytes of which most mean something to the target.
fn input(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24).to_le_bytes()
    };
    let length = usize::from(next()[0] % 48);
    (0..length)
        .map(|_| {
            let [kind, byte, ..] = next();
            if kind < 160 { byte % 12 } else { byte }
        })
        .collect()
}

#[test]
fn no_reply_does_harm() {
    let mut bench = Bench::default();
    for seed in 0..inputs() {
        bench.replies(&input(seed));
    }
}

#[test]
fn no_question_does_harm() {
    let mut bench = Bench::default();
    for seed in 0..inputs() {
        bench.questions(&input(seed));
    }
}
