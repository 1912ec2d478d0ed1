//! What fio says of a round, as JSON.

use std::collections::BTreeMap;

use sanlab_plan::Throughput;
use sanlab_record::Latency;
use serde::Deserialize;

use super::Report;

/// As much of `--output-format=json` as matters here; fio 3.33.
#[derive(Deserialize)]
struct Output {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    #[serde(default)]
    error: i64,
    read: Option<Direction>,
    write: Option<Direction>,
    /// Both together, with `unified_rw_reporting`.
    mixed: Option<Direction>,
}

#[derive(Deserialize)]
struct Direction {
    io_bytes: u64,
    /// Milliseconds.
    runtime: u64,
    total_ios: u64,
    #[serde(default)]
    clat_ns: Completion,
}

/// From a request's submission to its completion, nanoseconds.
#[derive(Default, Deserialize)]
struct Completion {
    #[serde(default)]
    max: f64,
    /// By percents, `99.000000`.
    #[serde(default)]
    percentile: BTreeMap<String, f64>,
}

/// Reads the report; the error says what is odd about it.
pub(super) fn parse(throughput: &Throughput, said: &str) -> Result<Report, String> {
    // Notes may stand before the JSON.
    let json = said.find('{').map_or("", |from| &said[from..]);
    let output: Output = serde_json::from_str(json)
        .map_err(|error| format!("understand fio's report: {error}: {}", beginning(said)))?;
    let [job] = &output.jobs[..] else {
        return Err(format!("fio reports {} jobs, not one", output.jobs.len()));
    };
    if job.error != 0 {
        return Err(format!("fio reports error {}", job.error));
    }
    let direction = match (throughput.pattern.reads(), throughput.pattern.writes()) {
        (true, true) => &job.mixed,
        (true, false) => &job.read,
        (false, _) => &job.write,
    };
    let Some(direction) = direction.as_ref().filter(|one| one.io_bytes > 0) else {
        return Err("fio reports that nothing was moved".to_owned());
    };
    let size = throughput.size.bytes();
    if throughput.runtime.is_none() && direction.io_bytes != size {
        let moved = direction.io_bytes;
        return Err(format!("it must move {size} bytes, but moved {moved}"));
    }
    Ok(Report {
        bytes: direction.io_bytes,
        seconds: direction.runtime as f64 / 1000.0,
        latency: latency(direction),
    })
}

fn latency(direction: &Direction) -> Option<Latency> {
    let Completion { max, percentile } = &direction.clat_ns;
    // fio reports percentiles as the upper ends of its histogram's bins: the last may lie beyond what it saw.
    let micros = |percent: &str| {
        percentile
            .get(percent)
            .map(|nanos| nanos.min(*max) / 1000.0)
    };
    Some(Latency {
        requests: direction.total_ios,
        p50: micros("50.000000")?,
        p95: micros("95.000000")?,
        p99: micros("99.000000")?,
        p999: micros("99.900000")?,
        max: max / 1000.0,
    })
}

/// As much as a message bears.
fn beginning(said: &str) -> String {
    said.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use sanlab_plan::{AccessPattern, Tool};

    use super::*;
    use crate::backend::fake_fleet;

    fn fio(pattern: AccessPattern) -> Throughput {
        Throughput {
            tool: Tool::Fio,
            ..fake_fleet::throughput(&["vix1"], pattern)
        }
    }

    /// As fio 3.33 writes it, shortened.
    fn said(direction: &str, bytes: u64) -> String {
        format!(
            r#"fio: a note before the report
{{
  "fio version" : "fio-3.33",
  "jobs" : [
    {{
      "jobname" : "work",
      "error" : 0,
      "{direction}" : {{
        "io_bytes" : {bytes},
        "io_kbytes" : {},
        "bw" : 5023,
        "iops" : 78.4,
        "runtime" : 815,
        "total_ios" : 64,
        "slat_ns" : {{ "min" : 0, "max" : 0, "mean" : 0.0, "stddev" : 0.0, "N" : 0 }},
        "clat_ns" : {{
          "min" : 300125, "max" : 30031000, "mean" : 1500000.5, "stddev" : 10.0, "N" : 64,
          "percentile" : {{
            "1.000000" : 301056,
            "50.000000" : 366592,
            "95.000000" : 3260416,
            "99.000000" : 6389760,
            "99.900000" : 31588352
          }}
        }}
      }}
    }}
  ]
}}
"#,
            bytes / 1024
        )
    }

    #[test]
    fn bytes_time_and_latencies_are_read() {
        let write = fio(AccessPattern::Write);
        let report = parse(&write, &said("write", 4 << 20)).unwrap();
        let expected = Report {
            bytes: 4 << 20,
            seconds: 0.815,
            latency: Some(Latency {
                requests: 64,
                p50: 366.592,
                p95: 3_260.416,
                p99: 6_389.76,
                p999: 30_031.0,
                max: 30_031.0,
            }),
        };
        assert_eq!(report, expected);
        let mixed = fio(AccessPattern::RandReadWrite);
        assert!(parse(&mixed, &said("mixed", 4 << 20)).is_ok());
    }

    #[test]
    fn what_is_no_report_of_the_work_says_why() {
        let write = fio(AccessPattern::Write);
        for (said, why) in [
            (String::new(), "understand fio's report"),
            (
                "fio: bad option <bs=x>".to_owned(),
                "understand fio's report",
            ),
            (said("read", 4 << 20), "fio reports that nothing was moved"),
            (
                said("write", 3 << 20),
                "it must move 4194304 bytes, but moved 3145728",
            ),
            (
                said("write", 4 << 20).replace("\"error\" : 0", "\"error\" : 28"),
                "fio reports error 28",
            ),
            ("{\"jobs\": []}".to_owned(), "fio reports 0 jobs, not one"),
        ] {
            let error = parse(&write, &said).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }
}
