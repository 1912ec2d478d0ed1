//! A host of the lab's own on a network. It asks members for an echo, as ping(8) does between guests, and costs them no process: their kernels
//! answer. What answers one station answers all, since nothing but the switch is between them.

use std::net::Ipv4Addr;
use std::time::Duration;

use sanlab_plan::Subnet;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::wire::{self, ETHERNET_HEADER, MAX_FRAME, Mac, Next, PREFIX};

/// How often those are asked again that have not answered,
const AGAIN: Duration = Duration::from_millis(100);
/// and the least time between two questions: a hundred guests on two CPUs need it to answer.
const PACE: Duration = Duration::from_millis(10);

const ARP: u16 = 0x0806;
/// The head of an ARP packet for Ethernet and IPv4, but for its operation.
const ARP_HEAD: [u8; 7] = [0, 1, 0x08, 0, 6, 4, 0];
const ARP_REQUEST: u8 = 1;
const ARP_REPLY: u8 = 2;
const IPV4: u16 = 0x0800;
const ICMP: u8 = 1;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
/// In each request and its reply.
const IDENTIFIER: u16 = 0x534c;
const IPV4_HEADER: usize = 20;
const ICMP_HEADER: usize = 8;

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The member's name.
    pub(crate) name: String,
    pub(crate) mac: Mac,
    pub(crate) address: Ipv4Addr,
    /// Bytes of the IP packet that goes to it, and comes back.
    pub(crate) bytes: u16,
}

/// A target that has not echoed yet.
struct Open<'a> {
    target: &'a Target,
    /// It has told its Ethernet address, and knows the station's.
    found: bool,
}

/// The host.
#[derive(Debug)]
pub(crate) struct Station {
    stream: UnixStream,
    mac: Mac,
    address: Ipv4Addr,
    /// What has come, from the beginning of a frame on.
    come: Vec<u8>,
}

impl Station {
    /// On the network of that place among the fleet's, with the first address of its subnet, which is no node's.
    pub(crate) fn new(stream: UnixStream, place: u8, subnet: Subnet) -> Self {
        Self {
            stream,
            // Locally administered, like QEMU's prefix; a member's has the network's place and its number at the end.
            mac: Mac([0x52, 0x54, 0x00, 0x4c, place, 0]),
            address: subnet.host(),
            come: Vec::new(),
        }
    }

    /// Asks all until each has answered, and tells which has. Those who have not until then are given back.
    ///
    /// First each is asked for its Ethernet address. From the question it learns the station's: if it had to ask for that, its broadcast
    /// would wake every guest of the network.
    pub(crate) async fn reach(
        &mut self,
        targets: &[Target],
        end: Instant,
        mut answered: impl FnMut(&Target),
    ) -> std::io::Result<Vec<Target>> {
        let unasked = |target| Open {
            target,
            found: false,
        };
        let mut open: Vec<_> = targets.iter().map(unasked).collect();
        let asked = timeout_at(end, self.ask(&mut open, &mut answered)).await;
        match asked {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) | Err(_) => Ok(open.iter().map(|it| it.target.clone()).collect()),
        }
    }

    async fn ask(
        &mut self,
        open: &mut Vec<Open<'_>>,
        answered: &mut impl FnMut(&Target),
    ) -> std::io::Result<()> {
        let mut again = Instant::now();
        let mut piece = vec![0; MAX_FRAME];
        while !open.is_empty() {
            tokio::select! {
                () = sleep_until(again) => {
                    for question in open.iter().map(|it| self.question(it)).collect::<Vec<_>>() {
                        self.stream.write_all(&question).await?;
                    }
                    let open = u32::try_from(open.len()).unwrap_or(u32::MAX);
                    again = Instant::now() + AGAIN.max(PACE.saturating_mul(open));
                }
                read = self.stream.read(&mut piece) => {
                    let bytes = read?;
                    if bytes == 0 {
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                    self.come.extend_from_slice(&piece[..bytes]);
                    for frame in self.take(open, answered)? {
                        self.stream.write_all(&frame).await?;
                    }
                }
            }
        }
        Ok(())
    }

    fn question(&self, open: &Open<'_>) -> Vec<u8> {
        let target = open.target;
        if open.found {
            self.request(target)
        } else {
            self.arp(target.mac, ARP_REQUEST, [0; 6], target.address.octets())
        }
    }

    /// Takes in the frames that have come whole; gives back what is to be sent for them.
    fn take(
        &mut self,
        open: &mut Vec<Open<'_>>,
        answered: &mut impl FnMut(&Target),
    ) -> std::io::Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        let mut done = 0;
        loop {
            match wire::next(&self.come[done..]) {
                Next::Whole(bytes) => {
                    let frame = &self.come[done + PREFIX..done + bytes];
                    let arp = of_type(frame, ARP).and_then(<[u8]>::first_chunk::<28>);
                    if let Some(arp) = arp {
                        frames.extend(self.arp_answer(arp));
                        if let Some(it) = open.iter_mut().find(|it| is_arp_reply(arp, it.target))
                            && !it.found
                        {
                            it.found = true;
                            frames.push(self.request(it.target));
                        }
                    }
                    if let Some(place) = open.iter().position(|it| is_echo(frame, it.target)) {
                        answered(open.remove(place).target);
                    }
                    done += bytes;
                }
                Next::Partial => break,
                Next::Malformed(length) => {
                    let text = format!("a frame of {length} bytes");
                    return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
                }
            }
        }
        self.come.drain(..done);
        Ok(frames)
    }

    /// An echo request as large as the target's card carries.
    fn request(&self, target: &Target) -> Vec<u8> {
        let mut packet = vec![0; usize::from(target.bytes).max(IPV4_HEADER + ICMP_HEADER)];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&target.bytes.to_be_bytes());
        // Not to be divided: nothing on the way carries less.
        packet[6] = 0x40;
        packet[8] = 64;
        packet[9] = ICMP;
        packet[12..16].copy_from_slice(&self.address.octets());
        packet[16..20].copy_from_slice(&target.address.octets());
        let sum = checksum(&packet[..IPV4_HEADER]);
        packet[10..12].copy_from_slice(&sum);
        packet[20] = ECHO_REQUEST;
        packet[24..26].copy_from_slice(&IDENTIFIER.to_be_bytes());
        let sum = checksum(&packet[IPV4_HEADER..]);
        packet[22..24].copy_from_slice(&sum);
        self.frame(target.mac, IPV4, &packet)
    }

    /// Who asks for the station's address gets it.
    fn arp_answer(&self, asked: &[u8; 28]) -> Option<Vec<u8>> {
        if asked[..7] != ARP_HEAD
            || asked[7] != ARP_REQUEST
            || asked[24..28] != self.address.octets()
        {
            return None;
        }
        let asking = *asked[8..].first_chunk::<6>()?;
        let address = *asked[14..].first_chunk::<4>()?;
        Some(self.arp(Mac(asking), ARP_REPLY, asking, address))
    }

    /// An ARP packet to who has that address: a question, or an answer.
    fn arp(&self, to: Mac, operation: u8, mac: [u8; 6], address: [u8; 4]) -> Vec<u8> {
        let mut packet = ARP_HEAD.to_vec();
        packet.push(operation);
        packet.extend(self.mac.0);
        packet.extend(self.address.octets());
        packet.extend(mac);
        packet.extend(address);
        self.frame(to, ARP, &packet)
    }

    fn frame(&self, to: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
        // The least that a card sends.
        let bytes = (ETHERNET_HEADER + payload.len()).max(60);
        let length = u32::try_from(bytes).unwrap_or(u32::MAX);
        let mut frame = Vec::with_capacity(PREFIX + bytes);
        frame.extend(length.to_be_bytes());
        frame.extend(to.0);
        frame.extend(self.mac.0);
        frame.extend(kind.to_be_bytes());
        frame.extend(payload);
        frame.resize(PREFIX + bytes, 0);
        frame
    }
}

/// What a frame carries, if it is of that type.
fn of_type(frame: &[u8], kind: u16) -> Option<&[u8]> {
    let (header, payload) = frame.split_first_chunk::<ETHERNET_HEADER>()?;
    (header[12..] == kind.to_be_bytes()).then_some(payload)
}

/// Whether it is the target's answer to a question for its Ethernet address.
fn is_arp_reply(arp: &[u8; 28], target: &Target) -> bool {
    arp[..7] == ARP_HEAD
        && arp[7] == ARP_REPLY
        && arp[8..14] == target.mac.0
        && arp[14..18] == target.address.octets()
}

/// Whether it is the target's echo of a whole request.
fn is_echo(frame: &[u8], target: &Target) -> bool {
    let Some(packet) = of_type(frame, IPV4).filter(|it| it.len() >= IPV4_HEADER + ICMP_HEADER)
    else {
        return false;
    };
    packet[0] == 0x45
        && packet[2..4] == target.bytes.to_be_bytes()
        && packet.len() >= usize::from(target.bytes)
        && packet[9] == ICMP
        && packet[12..16] == target.address.octets()
        && packet[20] == ECHO_REPLY
        && packet[24..26] == IDENTIFIER.to_be_bytes()
}

/// The Internet checksum (RFC 1071), of a text in which it is zero.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|word| {
        let low = word.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([word[0], low]))
    });
    // 65,535 bytes are too few to overflow.
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap_or(u16::MAX)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(number: u8) -> Target {
        Target {
            name: format!("n{number}"),
            mac: Mac([0x52, 0x54, 0, 0x4d, 0, number]),
            address: Subnet::of_place(0).address_of(number),
            bytes: 1500,
        }
    }

    /// A guest's kernel: answers the question for its Ethernet address and asks for the station's, then echoes what it got,
    /// `bytes` of it.
    async fn guest(mut stream: UnixStream, me: Target, bytes: usize) {
        let mine = Station {
            mac: me.mac,
            address: me.address,
            ..Station::new(UnixStream::pair().unwrap().0, 0, Subnet::of_place(0))
        };
        let question = next(&mut stream).await;
        let arp = of_type(&question, ARP).unwrap();
        let asking: [u8; 28] = *arp.first_chunk().unwrap();
        let answer = mine.arp_answer(&asking).unwrap();
        stream.write_all(&answer).await.unwrap();
        let station = *asking[14..].first_chunk().unwrap();
        let ask = mine.arp(Mac([0xff; 6]), ARP_REQUEST, [0; 6], station);
        stream.write_all(&ask).await.unwrap();
        let (mut request, mut told) = (Vec::new(), false);
        while request.is_empty() || !told {
            let frame = next(&mut stream).await;
            match of_type(&frame, ARP) {
                Some(arp) => told = arp[7] == ARP_REPLY && arp[24..28] == me.address.octets(),
                None => request = frame,
            }
        }
        assert_eq!(checksum(&request[14..34]), [0, 0]);
        assert_eq!(checksum(&request[34..]), [0, 0]);
        let mut reply = request[14..].to_vec();
        reply.truncate(bytes);
        reply[2..4].copy_from_slice(&u16::try_from(bytes).unwrap().to_be_bytes());
        let (from, to) = (request[26..30].to_vec(), request[30..34].to_vec());
        reply[12..16].copy_from_slice(&to);
        reply[16..20].copy_from_slice(&from);
        reply[20] = ECHO_REPLY;
        let reply = mine.frame(Mac([0x52, 0x54, 0, 0x4c, 0, 0]), IPV4, &reply);
        stream.write_all(&reply).await.unwrap();
        // Until the station has gone.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await.is_ok_and(|bytes| bytes > 0) {}
    }

    /// The next frame.
    async fn next(stream: &mut UnixStream) -> Vec<u8> {
        let mut prefix = [0; PREFIX];
        stream.read_exact(&mut prefix).await.unwrap();
        let length = usize::try_from(u32::from_be_bytes(prefix)).unwrap();
        let mut frame = vec![0; length];
        stream.read_exact(&mut frame).await.unwrap();
        frame
    }

    async fn asked(bytes: usize) -> (Vec<String>, Vec<Target>) {
        let (here, there) = UnixStream::pair().unwrap();
        let guest = tokio::spawn(guest(there, target(3), bytes));
        let mut station = Station::new(here, 0, Subnet::of_place(0));
        let end = Instant::now() + Duration::from_millis(300);
        let mut told = Vec::new();
        let silent = station
            .reach(&[target(3)], end, |target| told.push(target.name.clone()))
            .await
            .unwrap();
        drop(station);
        guest.await.unwrap();
        (told, silent)
    }

    #[tokio::test]
    async fn who_echoes_the_whole_request_has_answered() {
        assert_eq!(asked(1500).await, (vec!["n3".to_owned()], Vec::new()));
    }

    #[tokio::test]
    async fn an_echo_of_a_part_is_none() {
        assert_eq!(asked(1400).await, (Vec::new(), vec![target(3)]));
    }

    #[tokio::test]
    async fn a_switch_that_has_gone_is_an_error() {
        let (here, there) = UnixStream::pair().unwrap();
        drop(there);
        let mut station = Station::new(here, 0, Subnet::of_place(0));
        let end = Instant::now() + Duration::from_secs(10);
        let error = station.reach(&[target(0)], end, |_| {}).await;
        assert!(error.is_err());
    }
}
