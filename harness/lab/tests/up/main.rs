//! Fleets that stay up, looked into as a user does it: from outside the lab, through a terminal, with several of them at a time.
//! And what is left of a fleet whose supervisor is killed, or whose time is over.

use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use guest_trials::{Failed, Suite, Tier};
use rustix::process::{Pid, Signal, kill_process};
use sanlab::{Lab, Terminal, scenario};

#[path = "../support/child.rs"]
mod child;
mod packed;
mod place;
mod screen;

use place::{Place, two_nodes};
use screen::Screen;

/// For a fleet to come up, and for its end.
const UP: Duration = Duration::from_secs(300);
/// For anything else.
const SOON: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let lab = Lab::find(&place::project()).expect("the tests run in a checkout");
    let mut suite = Suite::new(|| lab.require_host()).one_at_a_time();
    let mut add = |name: &str, tier, test: fn(&Place) -> Result<(), Failed>| {
        let lab = lab.clone();
        suite.guests(name, tier, move || {
            lab.images(&scenario::load(&two_nodes())?, &|_| ())?;
            test(&Place::new()?)
        });
    };
    add("a_fleet_is_looked_into", Tier::Test, looked_into);
    add("two_fleets_are_told_apart", Tier::Nightly, told_apart);
    add(
        "sigkill_of_a_supervisor_leaves_nothing",
        Tier::Test,
        a_killed_supervisor,
    );
    add(
        "steps_are_taken_as_far_as_is_asked",
        Tier::Nightly,
        as_far_as_asked,
    );
    add("a_fleet_whose_time_is_over_ends", Tier::Nightly, time_over);
    add("a_run_that_has_failed_is_held", Tier::Test, held);
    add(
        "a_failed_fleet_goes_on_elsewhere",
        Tier::Nightly,
        packed::goes_on,
    );
    suite.run()
}

fn looked_into(place: &Place) -> Result<(), Failed> {
    let none = place.sanlab(&["shell", "vix0"], SOON)?;
    expect(&none, 2, "no fleet is up; `sanlab up FILE` starts one")?;
    let begin = Instant::now();
    let up = place.up(&[])?;
    expect(&up, 0, "two_nodes is up after")?;
    tell("up", begin);
    let list = place.sanlab(&["ls"], SOON)?;
    expect(&list, 0, "vix0 vix1")?;
    let again = place.up(&[])?;
    expect(&again, 2, "the fleet two_nodes is up already")?;

    let code = place.sanlab(
        &["exec", "vix0", "--", "sh", "-c", "uname -m; exit 7"],
        SOON,
    )?;
    expect(&code, 7, "x86_64")?;
    let both = place.sanlab(
        &[
            "exec",
            "vix0",
            "vix1",
            "--",
            "cat",
            "/proc/sys/kernel/hostname",
        ],
        SOON,
    )?;
    expect(&both, 0, "vix0: vix0\n")?;
    expect(&both, 0, "vix1: vix1\n")?;
    let layers = place.sanlab(&["exec", "vix1", "--", "cat", "/proc/partitions"], SOON)?;
    expect(&layers, 0, "nbd0")?;
    let unknown = place.sanlab(&["exec", "vix11", "--", "true"], SOON)?;
    expect(&unknown, 2, "the fleet two_nodes has no node `vix11`: ")?;
    let missing = place.sanlab(&["exec", "vix0", "--", "no-such-program"], SOON)?;
    expect(&missing, 2, "No such file or directory")?;

    // More than any window, in both directions.
    let bytes: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.to_le_bytes()[(n % 3) as usize])
        .collect();
    let piped = place.piped(&["exec", "vix1", "--", "cat"], &bytes)?;
    if piped.stdout != bytes {
        return Err(format!("{} of {} bytes came back", piped.stdout.len(), bytes.len()).into());
    }
    let (here, back) = (place.file("here"), place.file("back"));
    fs_err::write(&here, &bytes)?;
    let (here, back) = (here.to_string_lossy(), back.to_string_lossy());
    expect(
        &place.sanlab(&["cp", &here, "vix0:/var/tmp/"], SOON)?,
        0,
        "",
    )?;
    expect(
        &place.sanlab(&["cp", "vix0:/var/tmp/here", &back], SOON)?,
        0,
        "",
    )?;
    if fs_err::read(&*back)? != bytes {
        return Err("the file that came back is another".into());
    }
    let nowhere = place.sanlab(&["cp", "vix0:/no/such/file", &back], SOON)?;
    expect(&nowhere, 2, "No such file or directory")?;

    a_shell(place)?;
    a_console(place)?;
    a_capture(place)?;
    steps(place)?;
    a_debugger(place)?;
    a_panic(place)?;
    let begin = Instant::now();
    expect(&place.sanlab(&["down"], UP)?, 0, "two_nodes is down")?;
    tell("down", begin);
    place.expect_empty("down")?;

    // A checkpoint was kept: it is forked.
    let begin = Instant::now();
    expect(&place.up(&[])?, 0, "two_nodes is up after")?;
    tell("up of a forked fleet", begin);
    expect(
        &place.sanlab(&["down", "two_nodes"], UP)?,
        0,
        "two_nodes is down",
    )?;
    place.expect_empty("down of a fork")
}

/// A terminal from end to end: its size, what ends and stops a command, and how it is left.
fn a_shell(place: &Place) -> Result<(), Failed> {
    let begin = Instant::now();
    let mut screen = Screen::start(place, &["shell", "vix0"], 30, 100)?;
    screen.wait_for("root@vix0:~# ")?;
    tell("shell to the first prompt", begin);
    screen.types("stty size\r")?;
    screen.wait_for("30 100\r\n")?;
    screen.resize(50, 120)?;
    screen.types("stty size\r")?;
    screen.wait_for("50 120\r\n")?;
    screen.types("sh -c 'echo beg''un; exec sleep 1000'\r")?;
    screen.wait_for("begun\r\n")?;
    screen.types("\x03")?;
    screen.wait_for("root@vix0:~# ")?;
    screen.types("sh -c 'echo ag''ain; exec sleep 1000'\r")?;
    screen.wait_for("again\r\n")?;
    screen.types("\x1a")?;
    screen.wait_for("Stopped")?;
    // A shell with a stopped job does not exit when it is told the first time.
    screen.types("kill -9 %1; while kill -0 %1; do sleep 0.1; done; exit 7\r")?;
    screen.ends(Some(7))
}

fn a_console(place: &Place) -> Result<(), Failed> {
    let mut screen = Screen::start(place, &["console", "vix1"], 24, 80)?;
    let said = "echo '<1>a word on the console' >/dev/kmsg";
    expect(
        &place.sanlab(&["exec", "vix1", "--", "sh", "-c", said], SOON)?,
        0,
        "",
    )?;
    screen.wait_for("a word on the console")?;
    screen.types("\x03")?;
    screen.ends(Some(0))
}

/// To a file for a time, and to whoever reads until Ctrl-C.
fn a_capture(place: &Place) -> Result<(), Failed> {
    let none = place.sanlab(&["capture", "vix1", "--network", "san", "-w", "-"], SOON)?;
    expect(&none, 2, "the fleet has no such network")?;
    let file = place.file("vix1.pcap");
    let path = file.to_string_lossy().into_owned();
    let mut child = place
        .command(&["capture", "vix1", "-w", &path])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // Header and frames, once it watches.
    let read = [
        "exec",
        "vix1",
        "--",
        "dd",
        "if=/dev/nbd0",
        "of=/dev/null",
        "bs=4k",
        "count=1",
        "iflag=direct",
    ];
    let end = Instant::now() + SOON;
    while fs_err::read(&file).unwrap_or_default().len() < 4096 {
        if Instant::now() >= end {
            return Err("4 KiB that were read are not in the capture".into());
        }
        expect(&place.sanlab(&read, SOON)?, 0, "")?;
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.ok_or("it has a number")?, Signal::INT)?;
    let status = child::ended(&mut child, SOON)?.ok_or("`capture` did not end at Ctrl-C")?;
    let bytes = fs_err::read(&file)?;
    if !status.success() || bytes[..4] != 0xa1b2_3c4d_u32.to_ne_bytes() {
        return Err(format!("{status}; the file begins with {:02x?}", &bytes[..24]).into());
    }
    let timed = place.sanlab(&["capture", "vix0", "-w", "-", "--for", "1s"], SOON)?;
    expect(&timed, 0, " frames")?;
    if timed.stdout.len() < 24 {
        return Err("a capture without frames has a header".into());
    }
    Ok(())
}

/// Of the fleet's own scenario, and of one that was edited meanwhile.
fn steps(place: &Place) -> Result<(), Failed> {
    let text = fs_err::read_to_string(two_nodes())?;
    let (fleet, _) = text
        .split_once("[[step]]")
        .ok_or("the fixture has a step")?;
    let write = |name: &str, fleet: &str, step: &str| -> Result<String, Failed> {
        let file = place.file(name);
        fs_err::write(&file, format!("{fleet}[[step]]\nlabel = \"now\"\n{step}\n"))?;
        Ok(file.to_string_lossy().into_owned())
    };
    let take = |file: &str, label: &str| place.sanlab(&["step", file, label], SOON);
    let mark = r#"run = { on = "vix0", command = "echo $$ >>/run/taken" }"#;
    let good = write("good.toml", fleet, mark)?;
    expect(&take(&good, "now")?, 0, "now is done after")?;
    expect(&take(&good, "now")?, 0, "now is done after")?;
    let twice = place.sanlab(&["exec", "vix0", "--", "wc", "-l", "/run/taken"], SOON)?;
    expect(&twice, 0, "2 /run/taken")?;
    let own = two_nodes();
    expect(
        &take(&own.to_string_lossy(), "run")?,
        0,
        "run is done after",
    )?;
    let bad = r#"run = { on = "vix0", command = "echo no such thing >&2; exit 3" }"#;
    let bad = write("bad.toml", fleet, bad)?;
    expect(&take(&bad, "now")?, 1, "no such thing")?;
    expect(
        &take(&good, "nwo")?,
        2,
        "has no step `nwo`: did you mean `now`?",
    )?;
    let smaller = write("smaller.toml", &fleet.replace("64MiB", "32MiB"), mark)?;
    expect(&take(&smaller, "now")?, 2, "the layers of ")?;
    let mistaken = write("mistaken.toml", fleet, "rnu = {}")?;
    expect(&take(&mistaken, "now")?, 2, "mistaken.toml:")
}

/// It has its verdict, can be looked into and takes no step; then it is collected and ends, by `down` and by its time.
fn held(place: &Place) -> Result<(), Failed> {
    let text = fs_err::read_to_string(two_nodes())?;
    let failing = format!(
        "{text}\n[[step]]\nlabel = \"fail\"\nrun = {{ on = \"vix0\", command = \"touch /run/tried; exit 3\" }}\n"
    );
    let file = place.file("failing.toml");
    fs_err::write(&file, failing)?;
    let path = file.to_string_lossy().into_owned();
    let mut child = place
        .command(&["run", "--hold", "10m", &path])
        .stdout(fs_err::File::create(place.file("told"))?.into_parts().0)
        .stderr(fs_err::File::create(place.file("told-too"))?.into_parts().0)
        .spawn()?;
    let end = Instant::now() + UP;
    let tried = loop {
        let tried = place.sanlab(&["exec", "vix0", "--", "ls", "/run/tried"], SOON)?;
        if tried.status.success() || Instant::now() >= end {
            break tried;
        }
    };
    expect(&tried, 0, "/run/tried")?;
    expect(&place.sanlab(&["ls"], SOON)?, 0, "failing")?;
    let step = place.sanlab(&["step", &path, "fail"], SOON)?;
    expect(&step, 3, "the run has failed, and takes no further step")?;
    expect(&place.sanlab(&["down"], UP)?, 0, "failing is down")?;
    let status = child::ended(&mut child, UP)?.ok_or("the run did not end after `down`")?;
    let told = fs_err::read_to_string(place.file("told-too"))?;
    let attach = "the fleet stays up as `failing` for 10 min 00 s: ";
    if status.code() != Some(1) || !told.contains(attach) || !told.contains("collect: done") {
        return Err(format!("expected exit code 1, got {status}:\n{told}").into());
    }
    place.expect_empty("down of a run that was held")?;
    let over = place.sanlab(&["run", "--hold", "2s", &path], UP)?;
    expect(&over, 1, "hold: done in 2.")?;
    let passes = two_nodes().to_string_lossy().into_owned();
    expect(
        &place.sanlab(&["run", "--hold", "10m", &passes], UP)?,
        0,
        "passed",
    )?;
    place.expect_empty("runs that may be held")
}

/// It stops the kernel of either architecture, and lets it go on.
fn a_debugger(place: &Place) -> Result<(), Failed> {
    if Command::new("gdb").arg("--version").output().is_err() {
        let missing = "gdb is not installed";
        if std::env::var("SANLAB_REQUIRE_VMS").is_ok_and(|value| value == "1") {
            return Err(missing.into());
        }
        Terminal::plain().line(&format!("{missing}: nothing is debugged"));
        return Ok(());
    }
    for (node, register) in [("vix0", "rip"), ("vix1", "eip")] {
        let show = format!("info registers {register}");
        let debug = ["gdb", node, "--", "-batch", "-ex", &show];
        expect(&place.sanlab(&debug, SOON)?, 0, &format!("{register} "))?;
        expect(&place.sanlab(&["exec", node, "--", "true"], SOON)?, 0, "")?;
    }
    Ok(())
}

/// One node is lost; the other stays, to be looked at.
fn a_panic(place: &Place) -> Result<(), Failed> {
    let crash = [
        "exec",
        "vix1",
        "--",
        "sh",
        "-c",
        "echo c >/proc/sysrq-trigger",
    ];
    expect(
        &place.sanlab(&crash, SOON)?,
        3,
        "the guest's kernel panicked",
    )?;
    let after = place.sanlab(&["exec", "vix1", "--", "true"], SOON)?;
    expect(&after, 3, "the guest's kernel panicked")?;
    expect(
        &place.sanlab(&["exec", "vix0", "--", "echo", "alive"], SOON)?,
        0,
        "alive",
    )
}

fn told_apart(place: &Place) -> Result<(), Failed> {
    expect(&place.up(&[])?, 0, "two_nodes is up after")?;
    expect(&place.up(&["--name", "other"])?, 0, "other is up after")?;
    let which = place.sanlab(&["exec", "vix0", "--", "true"], SOON)?;
    expect(
        &which,
        2,
        "several fleets are up: other, two_nodes; say which with `--fleet NAME`",
    )?;
    let mark = |fleet, script| {
        place.sanlab(
            &["exec", "--fleet", fleet, "vix0", "--", "sh", "-c", script],
            SOON,
        )
    };
    expect(&mark("other", "echo here >/run/mark")?, 0, "")?;
    expect(&mark("two_nodes", "cat /run/mark")?, 1, "No such file")?;
    expect(
        &mark("others", "true")?,
        2,
        "no fleet `others` is up: did you mean `other`?",
    )?;
    expect(
        &place.sanlab(&["down", "--all"], UP)?,
        0,
        "other is down\ntwo_nodes is down\n",
    )?;
    place.expect_empty("down --all")
}

/// While a shell and a command run in it.
fn a_killed_supervisor(place: &Place) -> Result<(), Failed> {
    expect(&place.up(&["--fresh"])?, 0, "two_nodes is up after")?;
    let mut screen = Screen::start(place, &["shell", "vix0"], 24, 80)?;
    screen.wait_for("# ")?;
    let pid = place.supervisor()?;
    kill_process(pid, Signal::KILL)?;
    screen.wait_for("the fleet two_nodes does not answer: it ended while the command ran")?;
    screen.ends(Some(3))?;
    place.expect_empty("SIGKILL of the supervisor")?;
    expect(&place.sanlab(&["ls"], SOON)?, 0, "no fleet is up")?;
    // Its name is free again; one that is interrupted while it comes up leaves nothing either.
    let mut command = place.command(&["up", "--fresh"]);
    let mut child = command
        .arg(two_nodes())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pid = place.supervisor()?;
    kill_process(pid, Signal::TERM)?;
    let status = child::ended(&mut child, UP)?.ok_or("`up` did not end at SIGTERM")?;
    if status.code() != Some(4) {
        return Err(format!("expected exit code 4, got {status}").into());
    }
    place.expect_empty("SIGTERM to a supervisor whose fleet comes up")
}

/// A checkpoint beyond what is wanted is not forked.
fn as_far_as_asked(place: &Place) -> Result<(), Failed> {
    let text = fs_err::read_to_string(two_nodes())?;
    let (fleet, _) = text
        .split_once("[[step]]")
        .ok_or("the fixture has a step")?;
    let file = place.file("marked.toml");
    let steps = r#"
[[step]]
label = "mark"
checkpoint = "marked"
run = { on = "vix0", command = "echo first >/run/mark" }

[[step]]
label = "mark again"
run = { on = "vix0", command = "echo second >/run/mark" }
"#;
    fs_err::write(&file, format!("{fleet}{steps}"))?;
    let file = file.to_string_lossy();
    let marked = |code, words| {
        expect(
            &place.sanlab(&["exec", "vix0", "--", "cat", "/run/mark"], SOON)?,
            code,
            words,
        )?;
        expect(&place.sanlab(&["down"], UP)?, 0, "marked is down")
    };
    let unknown = place.sanlab(&["up", "--until", "marks", &file], SOON)?;
    expect(
        &unknown,
        2,
        "the scenario has no step `marks`: did you mean `mark`?",
    )?;
    for wanted in [["--until", "mark"], ["--from", "marked"]] {
        let up = [&["up"], &wanted[..], &[&*file]].concat();
        expect(&place.sanlab(&up, UP)?, 0, "marked is up")?;
        marked(0, "first\n")?;
    }
    expect(&place.sanlab(&["up", &file], UP)?, 0, "marked is up")?;
    marked(1, "No such file")?;
    expect(
        &place.sanlab(&["up", "--until", "mark again", &file], UP)?,
        0,
        "marked is up",
    )?;
    marked(0, "second\n")?;
    place.expect_empty("down")
}

fn time_over(place: &Place) -> Result<(), Failed> {
    expect(&place.up(&["--for", "3s"])?, 0, "two_nodes is up after")?;
    place.expect_empty("the end of a fleet's time")
}

fn expect(output: &Output, code: i32, words: &str) -> Result<(), Failed> {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said);
    if output.status.code() == Some(code) && said.contains(words) {
        return Ok(());
    }
    Err(format!(
        "expected exit code {code} and `{words}`, got {}:\n{said}",
        output.status
    )
    .into())
}

fn tell(what: &str, begin: Instant) {
    Terminal::plain().line(&format!("{what}: {:.2} s", begin.elapsed().as_secs_f64()));
}

/// The number of a process that `ls` shows.
fn pid_of(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

/// A command of the program.
fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sanlab"))
}
