//! The switch with plain unix sockets as ports.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sanlab_fleet::{Effect, Impairment, ImpairmentId, PortCounters, PortSpec, Switch, SwitchEvent};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for a frame that must not come to come.
const QUIET: Duration = Duration::from_millis(100);

struct Net {
    dir: tempfile::TempDir,
    switch: Switch,
    events: UnboundedReceiver<SwitchEvent>,
}

impl Net {
    fn new() -> Self {
        let (sender, events) = unbounded_channel();
        Self {
            dir: tempfile::tempdir().unwrap(),
            switch: Switch::start(sender).unwrap(),
            events,
        }
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn port(&mut self, name: &str) -> Guest {
        self.captured_port(name, None)
    }

    fn captured_port(&mut self, name: &str, capture: Option<PathBuf>) -> Guest {
        self.switch
            .add_port(&PortSpec {
                name: name.to_owned(),
                socket: self.socket(name),
                capture,
            })
            .unwrap();
        self.connect(name)
    }

    /// Connects, and waits until the switch has noticed.
    fn connect(&mut self, name: &str) -> Guest {
        let guest = Guest::connect(&self.socket(name));
        let connected = SwitchEvent::Connected {
            port: name.to_owned(),
        };
        self.event(|event| *event == connected);
        guest
    }

    fn event(&mut self, wanted: impl Fn(&SwitchEvent) -> bool) -> SwitchEvent {
        eventually("the event", || self.events.try_recv().ok().filter(&wanted))
    }

    fn counters(&self, name: &str) -> PortCounters {
        self.switch.counters()[name]
    }

    /// Has something done to frames from one port to another.
    fn impair(&self, from: &str, to: &str, effect: Effect) -> ImpairmentId {
        self.switch
            .impair(1, vec![impairment(from, to, effect)])
            .unwrap()
    }
}

fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    panic!("{what} did not come within {PATIENCE:?}");
}

struct Guest {
    stream: UnixStream,
}

impl Guest {
    fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    fn send(&mut self, frame: &[u8]) {
        self.stream.write_all(&wired(frame)).unwrap();
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(prefix) as usize];
        self.stream.read_exact(&mut frame).unwrap();
        frame
    }

    fn hears_nothing(&mut self) {
        self.stream.set_read_timeout(Some(QUIET)).unwrap();
        let heard = self.stream.read(&mut [0; 1]);
        assert!(heard.is_err(), "{heard:?}");
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
}

fn wired(frame: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(frame);
    bytes
}

fn impairment(from: &str, to: &str, effect: Effect) -> Impairment {
    Impairment {
        from: vec![from.to_owned()],
        to: vec![to.to_owned()],
        effect,
    }
}

fn cut() -> Effect {
    Effect {
        cut: true,
        ..Effect::default()
    }
}

fn late(milliseconds: u64) -> Effect {
    Effect {
        delay: Duration::from_millis(milliseconds),
        ..Effect::default()
    }
}

const EVERYBODY: u8 = 0xff;

/// A frame from station `from` to station `to`, with a payload of so many bytes.
fn frame(from: u8, to: u8, payload: usize) -> Vec<u8> {
    let address = |station: u8| {
        if station == EVERYBODY {
            [0xff; 6]
        } else {
            [0x52, 0x54, 0, 0, 0, station]
        }
    };
    let mut frame = [address(to), address(from)].concat();
    frame.extend([0x88, 0xb5]);
    frame.extend((0..payload).map(|at| u8::try_from(at % 251).unwrap()));
    frame
}

#[test]
fn unknown_and_multicast_are_flooded_and_known_are_not() {
    let mut net = Net::new();
    let (mut a, mut b, mut c) = (net.port("a"), net.port("b"), net.port("c"));
    a.send(&frame(1, 2, 46));
    assert_eq!(b.receive(), frame(1, 2, 46));
    assert_eq!(c.receive(), frame(1, 2, 46));
    a.hears_nothing();

    b.send(&frame(2, 1, 46));
    assert_eq!(a.receive(), frame(2, 1, 46));
    a.send(&frame(1, 2, 65_000));
    assert_eq!(b.receive(), frame(1, 2, 65_000));
    c.hears_nothing();

    a.send(&frame(1, EVERYBODY, 46));
    assert_eq!(b.receive(), frame(1, EVERYBODY, 46));
    assert_eq!(c.receive(), frame(1, EVERYBODY, 46));
}

#[test]
fn a_station_that_moved_is_followed() {
    let mut net = Net::new();
    let (mut a, mut b, mut c) = (net.port("a"), net.port("b"), net.port("c"));
    b.send(&frame(2, EVERYBODY, 46));
    a.receive();
    c.receive();
    c.send(&frame(2, EVERYBODY, 46));
    a.receive();
    b.receive();
    a.send(&frame(1, 2, 46));
    assert_eq!(c.receive(), frame(1, 2, 46));
    b.hears_nothing();
}

#[test]
fn frames_survive_any_cutting_of_the_stream() {
    let mut net = Net::new();
    let (mut a, mut b, mut c) = (net.port("a"), net.port("b"), net.port("c"));
    b.send(&frame(2, EVERYBODY, 0));
    c.send(&frame(3, EVERYBODY, 0));
    a.receive();
    a.receive();
    b.receive();
    c.receive();
    // To b and c by turns, in pieces that never end where a frame does.
    let sizes = [0, 46, 1500, 65_536, 7, 9000, 300];
    let frames: Vec<_> = (0..70)
        .map(|n| frame(1, 2 + u8::try_from(n / 3 % 2).unwrap(), sizes[n % 7]))
        .collect();
    let stream = frames
        .iter()
        .flat_map(|frame| wired(frame))
        .collect::<Vec<_>>();
    let sender = std::thread::spawn(move || {
        for piece in stream.chunks(7919) {
            a.stream.write_all(piece).unwrap();
        }
        a
    });
    for (n, frame) in frames.iter().enumerate() {
        let got = if n / 3 % 2 == 0 {
            b.receive()
        } else {
            c.receive()
        };
        assert!(
            got == *frame,
            "frame {n} arrived as {} of {} bytes",
            got.len(),
            frame.len()
        );
    }
    drop(sender.join().unwrap());
}

#[test]
fn a_stalled_port_holds_nobody_up_and_its_losses_are_counted() {
    let mut net = Net::new();
    let (mut a, mut stalled, mut b) = (net.port("a"), net.port("stalled"), net.port("b"));
    stalled.send(&frame(9, EVERYBODY, 0));
    a.receive();
    b.receive();
    b.send(&frame(2, EVERYBODY, 0));
    a.receive();
    stalled.receive();

    let total = 400;
    for n in 0..total {
        a.send(&frame(1, 9, 65_000));
        if n % 100 == 0 {
            a.send(&frame(1, 2, 46));
            assert_eq!(b.receive(), frame(1, 2, 46));
        }
    }
    a.send(&frame(1, 2, 47));
    assert_eq!(b.receive(), frame(1, 2, 47));

    let counted = net.counters("stalled");
    assert_eq!(counted.received_frames + counted.dropped_frames, total + 1);
    assert!(
        counted.dropped_frames > total / 2 && counted.dropped_frames < total,
        "{counted:?}"
    );
    // What it takes when it wakes is whole frames, and then it is as good as new.
    for _ in 1..counted.received_frames {
        assert_eq!(stalled.receive(), frame(1, 9, 65_000));
    }
    a.send(&frame(1, 9, 1));
    assert_eq!(stalled.receive(), frame(1, 9, 1));
}

#[test]
fn counters_are_from_the_guests_view() {
    let mut net = Net::new();
    let (mut a, mut b) = (net.port("a"), net.port("b"));
    a.send(&frame(1, 2, 86));
    a.send(&frame(1, 2, 186));
    b.receive();
    b.receive();
    let sender = PortCounters {
        sent_frames: 2,
        sent_bytes: 300,
        ..Default::default()
    };
    let receiver = PortCounters {
        received_frames: 2,
        received_bytes: 300,
        ..Default::default()
    };
    // A frame is counted when it has been forwarded.
    eventually("the counts", || {
        (net.counters("a") == sender && net.counters("b") == receiver).then_some(())
    });
}

#[test]
fn a_length_that_no_frame_has_closes_the_port_alone_and_it_can_come_back() {
    for length in [0_u32, 65_555, u32::MAX] {
        let mut net = Net::new();
        let (mut a, mut b, mut c) = (net.port("a"), net.port("b"), net.port("c"));
        // What came before it is forwarded.
        a.stream
            .write_all(&[wired(&frame(1, 2, 46)), length.to_be_bytes().to_vec()].concat())
            .unwrap();
        assert_eq!(b.receive(), frame(1, 2, 46));
        c.receive();
        let closed = SwitchEvent::Malformed {
            port: "a".to_owned(),
            length,
        };
        net.event(|event| *event == closed);
        assert_eq!(a.stream.read(&mut [0; 1]).unwrap(), 0);

        b.send(&frame(2, 3, 46));
        assert_eq!(c.receive(), frame(2, 3, 46));
        let mut again = net.connect("a");
        b.send(&frame(2, 1, 46));
        assert_eq!(again.receive(), frame(2, 1, 46));
    }
}

#[test]
fn a_runt_is_ignored() {
    let mut net = Net::new();
    let (mut a, mut b) = (net.port("a"), net.port("b"));
    a.send(&[1; 13]);
    a.send(&frame(1, 2, 46));
    assert_eq!(b.receive(), frame(1, 2, 46));
}

#[test]
fn a_port_added_later_and_one_whose_guest_was_replaced_take_part() {
    let mut net = Net::new();
    let (mut a, mut b) = (net.port("a"), net.port("b"));
    b.send(&frame(2, EVERYBODY, 46));
    a.receive();
    drop(b);
    net.event(|event| matches!(event, SwitchEvent::Disconnected { port, .. } if port == "b"));
    a.send(&frame(1, 2, 46));
    eventually("the count of the lost frame", || {
        (net.counters("b").dropped_frames == 1).then_some(())
    });

    let (mut b, mut late) = (net.connect("b"), net.port("late"));
    a.send(&frame(1, 2, 47));
    assert_eq!(b.receive(), frame(1, 2, 47));
    late.send(&frame(3, 1, 46));
    assert_eq!(a.receive(), frame(3, 1, 46));
}

#[test]
fn two_switches_do_not_see_each_other() {
    let (mut one, mut two) = (Net::new(), Net::new());
    let (mut a, mut b, mut other) = (one.port("a"), one.port("b"), two.port("a"));
    a.send(&frame(1, EVERYBODY, 46));
    b.receive();
    other.hears_nothing();
}

#[test]
fn a_captured_port_gives_a_pcap_file() {
    let mut net = Net::new();
    let file = net.socket("a.pcap");
    let (mut a, mut b) = (net.captured_port("a", Some(file.clone())), net.port("b"));
    a.send(&frame(1, 2, 46));
    b.receive();
    b.send(&frame(2, 1, 65_000));
    a.receive();
    b.send(&frame(2, EVERYBODY, 1));
    a.receive();
    let expected = [frame(1, 2, 46), frame(2, 1, 65_000), frame(2, EVERYBODY, 1)];

    // The file is complete soon after the network is quiet, without an end of the switch.
    let whole = 24
        + expected
            .iter()
            .map(|frame| 16 + frame.len() as u64)
            .sum::<u64>();
    eventually("the whole file", || {
        (fs_err::metadata(&file).unwrap().len() == whole).then_some(())
    });
    let bytes = fs_err::read(&file).unwrap();
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!([word(0), word(16), word(20)], [0xa1b2_3c4d, 65_554, 1]);
    let mut at = 24;
    for frame in expected {
        assert!(word(at) > 1_700_000_000 && word(at + 4) < 1_000_000_000);
        assert_eq!(
            [word(at + 8) as usize, word(at + 12) as usize],
            [frame.len(); 2]
        );
        at += 16;
        assert!(bytes[at..at + frame.len()] == frame);
        at += frame.len();
    }
}

#[test]
fn a_taken_socket_path_is_an_error_that_names_port_and_path() {
    let mut net = Net::new();
    let _a = net.port("a");
    let spec = PortSpec {
        name: "b".to_owned(),
        socket: net.socket("a"),
        capture: None,
    };
    let error = net.switch.add_port(&spec).unwrap_err().to_string();
    let dir = net.dir.path().display().to_string();
    insta::assert_snapshot!(error.replace(&dir, "DIR"), @"add the switch port b at DIR/a: Address already in use (os error 98)");
}

#[test]
fn a_partition_goes_one_way_or_both_until_it_is_healed() {
    let mut net = Net::new();
    let (mut a, mut b, mut c) = (net.port("a"), net.port("b"), net.port("c"));
    let one_way = net.impair("a", "b", cut());
    // Unknown as yet, so that it is flooded.
    a.send(&frame(1, 2, 46));
    assert_eq!(c.receive(), frame(1, 2, 46));
    b.hears_nothing();
    b.send(&frame(2, 1, 46));
    assert_eq!(a.receive(), frame(2, 1, 46));
    a.send(&frame(1, 2, 47));
    b.hears_nothing();
    eventually("the count of the lost frames", || {
        (net.counters("b").lost_frames == 2).then_some(())
    });
    assert_eq!(net.counters("b").dropped_frames, 0);
    assert_eq!(net.counters("c").lost_frames, 0);

    let both = vec![impairment("a", "b", cut()), impairment("b", "a", cut())];
    let both = net.switch.impair(1, both).unwrap();
    net.switch.restore(one_way).unwrap();
    a.send(&frame(1, 2, 46));
    b.send(&frame(2, 1, 46));
    b.hears_nothing();
    a.hears_nothing();

    net.switch.restore(both).unwrap();
    a.send(&frame(1, 2, 48));
    assert_eq!(b.receive(), frame(1, 2, 48));
    b.send(&frame(2, 1, 48));
    assert_eq!(a.receive(), frame(2, 1, 48));
    c.hears_nothing();
}

#[test]
fn a_broadcast_reaches_all_but_the_one_that_is_cut_off() {
    let mut net = Net::new();
    let names = ["a", "b", "c", "d"];
    let [mut a, mut b, mut c, mut d] = names.map(|name| net.port(name));
    net.switch
        .impair(
            1,
            vec![Impairment {
                from: names.map(str::to_owned).to_vec(),
                to: vec!["c".to_owned()],
                effect: cut(),
            }],
        )
        .unwrap();
    a.send(&frame(1, EVERYBODY, 46));
    assert_eq!(b.receive(), frame(1, EVERYBODY, 46));
    assert_eq!(d.receive(), frame(1, EVERYBODY, 46));
    c.hears_nothing();
    let lost = names.map(|name| net.counters(name).lost_frames);
    assert_eq!(lost, [0, 0, 1, 0]);
}

#[test]
fn a_delayed_frame_is_late_and_arrives_even_if_the_delay_has_ended() {
    let mut net = Net::new();
    let (mut a, mut b) = (net.port("a"), net.port("b"));
    let delay = net.impair("a", "b", late(50));
    let begin = Instant::now();
    a.send(&frame(1, 2, 46));
    assert_eq!(b.receive(), frame(1, 2, 46));
    assert!(begin.elapsed() >= Duration::from_millis(50));
    net.switch.restore(delay).unwrap();

    // Long enough that the next frame comes before this one even on a busy host.
    let delay = net.impair("a", "b", late(1000));
    let begin = Instant::now();
    a.send(&frame(1, 2, 47));
    eventually("the frame in the switch", || {
        (net.counters("a").sent_frames == 2).then_some(())
    });
    net.switch.restore(delay).unwrap();
    // One that is sent now does not wait for it.
    a.send(&frame(1, 2, 48));
    assert_eq!(b.receive(), frame(1, 2, 48));
    assert_eq!(b.receive(), frame(1, 2, 47));
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert_eq!(net.counters("b").lost_frames, 0);
}

#[test]
fn two_impairments_apply_at_once_also_to_a_port_that_comes_later() {
    let mut net = Net::new();
    let mut a = net.port("a");
    let twice = Effect {
        duplicate: 1.0,
        ..late(30)
    };
    let first = net.impair("a", "later", twice);
    net.impair("a", "later", late(40));
    let mut later = net.port("later");
    let begin = Instant::now();
    a.send(&frame(1, 2, 46));
    for _ in 0..2 {
        assert_eq!(later.receive(), frame(1, 2, 46));
        assert!(begin.elapsed() >= Duration::from_millis(70));
    }
    net.switch.restore(first).unwrap();
    let begin = Instant::now();
    a.send(&frame(1, 2, 47));
    assert_eq!(later.receive(), frame(1, 2, 47));
    assert!(begin.elapsed() >= Duration::from_millis(40));
    later.hears_nothing();
}

#[test]
fn frames_stay_in_order_where_they_are_late_by_turns() {
    let mut net = Net::new();
    let (mut a, mut b) = (net.port("a"), net.port("b"));
    let jitter = Effect {
        jitter: Duration::from_millis(3),
        ..late(3)
    };
    net.impair("a", "b", jitter);
    let frames: Vec<_> = (0..500).map(|payload| frame(1, 2, payload)).collect();
    for frame in &frames {
        a.send(frame);
    }
    for frame in &frames {
        assert_eq!(b.receive(), *frame);
    }
}

#[test]
fn late_frames_that_find_no_room_are_lost_and_nobody_else_suffers() {
    let mut net = Net::new();
    let (mut a, mut b, mut c) = (net.port("a"), net.port("b"), net.port("c"));
    b.send(&frame(2, EVERYBODY, 0));
    a.receive();
    c.receive();
    let hour = net.impair("a", "b", late(3_600_000));
    let (total, room) = (1200, 64 * 1024 * 1024 / 65_000);
    for _ in 0..total {
        a.send(&frame(1, 2, 65_000));
    }
    c.send(&frame(3, 1, 46));
    assert_eq!(a.receive(), frame(3, 1, 46));
    eventually("the count of what is lost", || {
        let lost = net.counters("b").lost_frames;
        let expected = total - room..total - room + 10;
        expected.contains(&lost).then_some(())
    });
    net.switch.restore(hour).unwrap();
    a.send(&frame(1, 2, 47));
    assert_eq!(b.receive(), frame(1, 2, 47));
}

#[test]
fn a_capture_shows_what_was_sent_and_what_arrived() {
    let mut net = Net::new();
    let files = ["a", "b"].map(|name| net.socket(&format!("{name}.pcap")));
    let mut a = net.captured_port("a", Some(files[0].clone()));
    let mut b = net.captured_port("b", Some(files[1].clone()));
    net.impair("a", "b", late(20));
    let small_only = Effect {
        mtu: Some(100),
        ..Effect::default()
    };
    net.impair("a", "b", small_only);
    a.send(&frame(1, 2, 101));
    a.send(&frame(1, 2, 100));
    assert_eq!(b.receive(), frame(1, 2, 100));
    let wholes = [24 + 16 + 115 + 16 + 114, 24 + 16 + 114];
    for (file, whole) in files.iter().zip(wholes) {
        eventually("the whole file", || {
            (fs_err::metadata(file).unwrap().len() == whole).then_some(())
        });
    }
}
