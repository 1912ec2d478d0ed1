//! Whose fault a failure is, what kind it is, and what is said of it.

use sanlab_fleet::{FileSystem, FleetError, Status, VmError};

use super::*;

fn died(node: &str, status: Status, cause: Option<&str>) -> Failure {
    Failure::from(ExecError::QemuDead {
        node: node.to_owned(),
        command: "true".to_owned(),
        status,
        cause: cause.map(Into::into),
        full: None,
        stderr_tail: String::new(),
    })
}

#[test]
fn blame_does_not_depend_on_words() {
    let killed = died("guest-reset", Status::Signalled(9), None);
    assert!(killed.to_string().contains("guest-reset"), "{killed}");
    assert_eq!(killed.blame(), Blame::Infrastructure);
    assert_eq!(killed.kind(), FailureKind::QemuDead);
    let fenced = died("vix1", Status::Exited(0), Some("guest-reset"));
    assert_eq!(fenced.blame(), Blame::UnderTest);
    assert_eq!(fenced.kind(), FailureKind::GuestReset);
    let quit = died("vix1", Status::Exited(0), Some("host-qmp-quit"));
    assert_eq!(quit.blame(), Blame::Infrastructure);
}

#[test]
fn a_full_disk_is_told_by_its_kind() {
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let kind = |failure: Failure| (failure.blame(), failure.kind());
    let no_space = (Blame::Infrastructure, FailureKind::OutOfSpace);
    assert_eq!(kind(Failure::host("prepare")(full())), no_space);
    let runtime = FleetError::Runtime { source: full() };
    assert_eq!(kind(runtime.into()), no_space);
    let source = Box::new(VmError::DiedAtStart {
        node: "vix0".to_owned(),
        status: Status::Signalled(7),
        full: Some(Box::new(FileSystem {
            place: "/dev/shm/vix0".into(),
            mount_point: "/dev/shm".into(),
            kind: "tmpfs".to_owned(),
            bytes: 1 << 30,
            free_bytes: 0,
        })),
        stderr_tail: String::new(),
    });
    let start = FleetError::Machine {
        node: "vix0".to_owned(),
        doing: "start",
        source,
    };
    let start = Failure::from(start);
    assert_eq!(
        start.to_string(),
        "start node vix0: start vix0: QEMU was ended by SIGBUS: there is no space left on the tmpfs at /dev/shm (0 of 1024 MiB \
         free by now), where /dev/shm/vix0 lies; make room there, or choose other folders by SANLAB_CACHE (the store) and \
         SANLAB_RUNTIME (running fleets)"
    );
    assert_eq!(kind(start), no_space);
    let ended = FleetError::Ended;
    let failed = (Blame::Infrastructure, FailureKind::FleetFailed);
    assert_eq!(kind(ended.into()), failed);
}

#[test]
fn what_was_found_is_told_once() {
    let finding = |node: &str, kind| Finding {
        at: 12.1,
        until: 14.0,
        count: 14,
        node: node.to_owned(),
        phase: None,
        kind,
        about: None,
        source: sanlab_record::Source::KernelLog,
        text: "Oops: 0002".to_owned(),
        excuse: None,
        trace: Vec::new(),
    };
    let one = finding("vix0", FindingKind::Oops);
    let other = finding("vix1", FindingKind::Oops);
    let told = || Failure::from(Cause::Evidence(vec![one.clone()]));
    let again = told().and_findings(vec![one.clone()]);
    assert_eq!(again.to_string(), told().to_string());
    let both = told().and_findings(vec![one.clone(), other]);
    assert_eq!(both.to_string().lines().count(), 2);
    assert_eq!(
        (both.kind(), both.node()),
        (FailureKind::KernelComplaint, Some("vix0"))
    );
    let nothing = Failure::from(Cause::NothingAcknowledged).and_findings(vec![one.clone()]);
    assert_eq!(nothing.kind(), FailureKind::NothingAcknowledged);
    assert_eq!(nothing.node(), None);
    let dead = died("vix1", Status::Signalled(9), None).and_findings(vec![one]);
    assert_eq!(dead.blame(), Blame::UnderTest);
    assert_eq!(
        (dead.kind(), dead.node()),
        (FailureKind::KernelComplaint, Some("vix0"))
    );
    let state = Failure::from(Cause::Evidence(vec![finding(
        "vix0",
        FindingKind::LayerState,
    )]));
    assert_eq!(state.kind(), FailureKind::ConditionNotMet);
}
