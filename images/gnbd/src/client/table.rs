//! What the kernel asked for and has no answer to yet, and the GNBD requests it was split into. Pure: no I/O.
//!
//! A kernel's request is *whole*; the requests to the server, at most [`MAX_TRANSFER`](crate::protocol::MAX_TRANSFER)
//! long, are its *parts*. Parts keep what a resend needs, the payloads of writes above all.

use std::time::Instant;

use super::nbd::{Cookie, errno};
use crate::protocol::{Command, DATA_REQUEST_SIZE, DataRequest, Handle};

/// Memory for the payload of one part.
pub(crate) type Buffer = Box<[u8]>;

/// The kernel's queue depth: as many requests are open at once.
pub(crate) const KERNEL_REQUESTS: usize = 128;
/// Parts open at once: enough for every whole to have one, and for some long ones among them.
const PARTS: usize = 256;

/// Number of a whole in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId(usize);

/// Number of a part in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartId(usize);

/// A request of the kernel.
#[derive(Debug)]
struct KernelRequest {
    cookie: Cookie,
    /// Parts without an answer.
    open: u32,
    /// Parts are still to come.
    growing: bool,
    failed: bool,
    /// Where the parts of a long read come together.
    data: Option<Vec<u8>>,
}

/// A request to the server.
#[derive(Debug)]
pub(crate) struct Part {
    request_id: RequestId,
    /// Arrival order.
    sequence: u64,
    /// Whether all of it is in the server's socket.
    sent: bool,
    pub(crate) command: Command,
    pub(crate) length: u32,
    /// Where in the whole it begins.
    pub(crate) at: usize,
    pub(crate) header: [u8; DATA_REQUEST_SIZE],
    pub(crate) payload: Option<Buffer>,
}

impl Part {
    /// The bytes of a write.
    pub(crate) fn payload(&self) -> &[u8] {
        match &self.payload {
            Some(buffer) => &buffer[..self.length as usize],
            None => &[],
        }
    }
}

/// A whole that is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) cookie: Cookie,
    pub(crate) error: u32,
    /// Of a long read that went well.
    pub(crate) data: Option<Vec<u8>>,
}

/// Wholes and parts, in memory that is taken once.
#[derive(Debug)]
pub(crate) struct Table {
    requests: Vec<Option<KernelRequest>>,
    spare_requests: Vec<usize>,
    parts: Vec<Option<Part>>,
    spare_parts: Vec<usize>,
    /// How often each part's place was used: the upper half of its handle, so that no handle comes twice.
    uses: Vec<u32>,
    sequence: u64,
    waiting: Option<Instant>,
    order: Vec<(u64, PartId)>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            requests: (0..KERNEL_REQUESTS).map(|_| None).collect(),
            spare_requests: (0..KERNEL_REQUESTS).rev().collect(),
            parts: (0..PARTS).map(|_| None).collect(),
            spare_parts: (0..PARTS).rev().collect(),
            uses: vec![0; PARTS],
            sequence: 0,
            waiting: None,
            order: Vec::with_capacity(PARTS),
        }
    }

    /// Whether nobody waits for anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.spare_requests.len() == KERNEL_REQUESTS
    }

    /// How many requests of the kernel have no answer.
    pub(crate) fn len(&self) -> usize {
        KERNEL_REQUESTS - self.spare_requests.len()
    }

    /// Bytes of long reads.
    pub(crate) fn long(&self) -> usize {
        let data = |request_id: &KernelRequest| request_id.data.as_ref().map_or(0, Vec::len);
        self.requests.iter().flatten().map(data).sum()
    }

    /// Since when nothing came back although something was asked: the last answer, or the first request of an idle
    /// device.
    pub(crate) fn waiting(&self) -> Option<Instant> {
        self.waiting
    }

    /// Whether another part fits.
    pub(crate) fn has_room(&self) -> bool {
        !self.spare_parts.is_empty()
    }

    /// Takes in a request of the kernel, without parts yet. `None` if there are too many.
    pub(crate) fn begin(&mut self, cookie: Cookie, data: Option<Vec<u8>>) -> Option<RequestId> {
        let index = self.spare_requests.pop()?;
        self.requests[index] = Some(KernelRequest {
            cookie,
            open: 0,
            growing: true,
            failed: false,
            data,
        });
        Some(RequestId(index))
    }

    /// Adds a part. `None` if there is no room or the whole is not there.
    pub(crate) fn add(
        &mut self,
        request_id: RequestId,
        command: Command,
        (offset, length, at): (u64, u32, usize),
        payload: Option<Buffer>,
        now: Instant,
    ) -> Option<PartId> {
        let open = &mut self.requests[request_id.0].as_mut()?.open;
        let index = self.spare_parts.pop()?;
        *open += 1;
        self.uses[index] = self.uses[index].wrapping_add(1);
        let request = DataRequest {
            command,
            handle: handle(index, self.uses[index]),
            offset,
            length,
        };
        self.parts[index] = Some(Part {
            request_id,
            sequence: self.sequence,
            sent: false,
            command,
            length,
            at,
            header: request.encode(),
            payload,
        });
        self.sequence += 1;
        self.waiting.get_or_insert(now);
        Some(PartId(index))
    }

    /// No more parts will come.
    pub(crate) fn grown(&mut self, request_id: RequestId) -> Option<Finished> {
        self.requests[request_id.0].as_mut()?.growing = false;
        self.close(request_id)
    }

    pub(crate) fn part(&self, part: PartId) -> Option<&Part> {
        self.parts[part.0].as_ref()
    }

    pub(crate) fn sent(&mut self, part: PartId) {
        if let Some(part) = self.parts[part.0].as_mut() {
            part.sent = true;
        }
    }

    /// The part that an answer with this handle belongs to: one that was sent.
    pub(crate) fn find(&self, handle: Handle) -> Option<PartId> {
        let [u0, u1, u2, u3, i0, i1, i2, i3] = handle;
        let index = usize::try_from(u32::from_be_bytes([i0, i1, i2, i3])).ok()?;
        let used = *self.uses.get(index)? == u32::from_be_bytes([u0, u1, u2, u3]);
        let part = self.parts[index].as_ref()?;
        (used && part.sent).then_some(PartId(index))
    }

    /// Where the data of this part goes, if it is one of a long read.
    pub(crate) fn place(&mut self, part: PartId) -> Option<&mut [u8]> {
        let part = self.parts[part.0].as_ref()?;
        let (request_id, at, length) = (part.request_id, part.at, part.length as usize);
        let data = self.requests[request_id.0].as_mut()?.data.as_mut()?;
        data.get_mut(at..at + length)
    }

    /// A part was answered. Gives its payload's memory back, and the whole if that was its last part.
    pub(crate) fn complete(
        &mut self,
        part: PartId,
        failed: bool,
        now: Instant,
    ) -> (Option<Buffer>, Option<Finished>) {
        let Some(part) = self.remove(part) else {
            return (None, None);
        };
        self.waiting = (self.spare_parts.len() < PARTS).then_some(now);
        if let Some(request_id) = self.requests[part.request_id.0].as_mut() {
            request_id.open -= 1;
            request_id.failed |= failed;
        }
        (part.payload, self.close(part.request_id))
    }

    /// Fails everything that waits, in arrival order. `done` gets each part's memory and each whole that is over;
    /// what is still growing is only marked.
    pub(crate) fn fail_all(&mut self, mut done: impl FnMut(Option<Buffer>, Option<Finished>)) {
        for request_id in self.requests.iter_mut().flatten() {
            request_id.failed = true;
        }
        self.sort();
        for at in 0..self.order.len() {
            let Some(part) = self.remove(self.order[at].1) else {
                continue;
            };
            if let Some(request_id) = self.requests[part.request_id.0].as_mut() {
                request_id.open -= 1;
            }
            let finished = self.close(part.request_id);
            done(part.payload, finished);
        }
        self.waiting = None;
    }

    /// The link is another: nothing is sent. All parts, in arrival order.
    pub(crate) fn resend(&mut self) -> impl Iterator<Item = PartId> {
        for part in self.parts.iter_mut().flatten() {
            part.sent = false;
        }
        self.sort();
        self.order.iter().map(|(_, part)| *part)
    }

    fn sort(&mut self) {
        self.order.clear();
        for (index, part) in self.parts.iter().enumerate() {
            if let Some(part) = part {
                self.order.push((part.sequence, PartId(index)));
            }
        }
        self.order.sort_unstable_by_key(|(sequence, _)| *sequence);
    }

    fn remove(&mut self, part: PartId) -> Option<Part> {
        let taken = self.parts[part.0].take()?;
        self.spare_parts.push(part.0);
        Some(taken)
    }

    /// Takes a whole out if nothing of it is left to wait for.
    fn close(&mut self, id: RequestId) -> Option<Finished> {
        let request_id = self.requests[id.0].as_ref()?;
        if request_id.growing || request_id.open > 0 {
            return None;
        }
        let request_id = self.requests[id.0].take()?;
        self.spare_requests.push(id.0);
        Some(Finished {
            cookie: request_id.cookie,
            error: if request_id.failed { errno::EIO } else { 0 },
            data: request_id.data.filter(|_| !request_id.failed),
        })
    }
}

fn handle(index: usize, uses: u32) -> Handle {
    let mut handle = [0; 8];
    handle[..4].copy_from_slice(&uses.to_be_bytes());
    // Places are few.
    handle[4..].copy_from_slice(&u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes());
    handle
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(table: &mut Table, request_id: RequestId, at: usize) -> PartId {
        let place = (at as u64, 512, at);
        table
            .add(request_id, Command::Read, place, None, Instant::now())
            .unwrap()
    }

    fn handle_of(table: &Table, part: PartId) -> Handle {
        DataRequest::decode(&table.part(part).unwrap().header)
            .unwrap()
            .handle
    }

    #[test]
    fn a_whole_ends_with_its_last_part() {
        let mut table = Table::new();
        let request_id = table.begin([7; 8], Some(vec![0; 1024])).unwrap();
        let parts = [
            add(&mut table, request_id, 0),
            add(&mut table, request_id, 512),
        ];
        assert_eq!(table.grown(request_id), None);
        table.place(parts[1]).unwrap().fill(9);
        let now = Instant::now();
        assert_eq!(table.complete(parts[1], false, now), (None, None));
        let (_, finished) = table.complete(parts[0], false, now);
        let finished = finished.unwrap();
        assert_eq!((finished.cookie, finished.error), ([7; 8], 0));
        assert_eq!(finished.data.unwrap()[511..513], [0, 9]);
        assert!(table.is_empty() && table.waiting().is_none());
    }

    #[test]
    fn one_bad_part_spoils_the_whole() {
        let mut table = Table::new();
        let request_id = table.begin([7; 8], Some(vec![0; 1024])).unwrap();
        let parts = [
            add(&mut table, request_id, 0),
            add(&mut table, request_id, 512),
        ];
        table.grown(request_id);
        table.complete(parts[0], true, Instant::now());
        let (_, finished) = table.complete(parts[1], false, Instant::now());
        let finished = finished.unwrap();
        assert_eq!((finished.error, finished.data), (errno::EIO, None));
    }

    #[test]
    fn only_what_was_sent_is_found_and_only_once() {
        let mut table = Table::new();
        let request_id = table.begin([0; 8], None).unwrap();
        let part = add(&mut table, request_id, 0);
        table.grown(request_id);
        let handle = handle_of(&table, part);
        assert_eq!(table.find(handle), None);
        table.sent(part);
        assert_eq!(table.find(handle), Some(part));
        table.complete(part, false, Instant::now());
        assert_eq!(table.find(handle), None);
        let request_id = table.begin([0; 8], None).unwrap();
        let again = add(&mut table, request_id, 0);
        table.sent(again);
        assert_eq!((again, table.find(handle)), (part, None));
        assert_eq!(table.find([0xff; 8]), None);
    }

    #[test]
    fn resends_come_in_arrival_order() {
        let mut table = Table::new();
        let mut added = Vec::new();
        for _ in 0..3 {
            let request_id = table.begin([0; 8], None).unwrap();
            added.push(add(&mut table, request_id, 0));
            table.grown(request_id);
        }
        table.complete(added.remove(0), false, Instant::now());
        let request_id = table.begin([0; 8], None).unwrap();
        added.push(add(&mut table, request_id, 0));
        assert_eq!(table.resend().collect::<Vec<_>>(), added);
    }

    #[test]
    fn failing_leaves_only_what_still_grows() {
        let mut table = Table::new();
        let first = table.begin([1; 8], None).unwrap();
        add(&mut table, first, 0);
        table.grown(first);
        let second = table.begin([2; 8], None).unwrap();
        add(&mut table, second, 0);
        let mut failed = Vec::new();
        table.fail_all(|_, finished| failed.extend(finished));
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].cookie, failed[0].error), ([1; 8], errno::EIO));
        assert_eq!(table.grown(second).unwrap().error, errno::EIO);
        assert!(table.is_empty());
    }
}
