//! The agent: one loop that waits for the host and for all commands at once.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::mm::{MlockAllFlags, mlockall};

use crate::frame::{Decoder, Frame, Job};
use crate::job::Running;
use crate::spawn::spare;

/// Read at once from the port.
const CHUNK: usize = 32 << 10;
/// How soon a port is looked at again whose host is away.
const LOOK_AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};
const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// Has the agent answer while the guest is short of memory. What could not be done comes back in words.
pub fn protect() -> Vec<String> {
    let locked = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE).map_err(io::Error::from);
    [
        ("lock its memory", locked),
        ("be spared when memory runs out", spare()),
    ]
    .into_iter()
    .filter_map(|(what, done)| Some(format!("failed to {what}: {}", done.err()?)))
    .collect()
}

/// Serves one host.
pub struct Agent {
    port: OwnedFd,
    decoder: Decoder,
    /// For the host. The windows bound it.
    outbox: Vec<u8>,
    jobs: BTreeMap<Job, Running>,
    /// Killed for an earlier host, and not reaped yet.
    dying: Vec<Running>,
    chunk: Vec<u8>,
}

impl Agent {
    /// On a port, or a socket.
    pub fn new(port: OwnedFd) -> io::Result<Self> {
        ioctl_fionbio(&port, true)?;
        Ok(Self {
            port,
            decoder: Decoder::default(),
            outbox: Vec::new(),
            jobs: BTreeMap::new(),
            dying: Vec::new(),
            chunk: vec![0; CHUNK],
        })
    }

    /// Until something is wrong with the port itself; a host that is away is awaited.
    pub fn serve(mut self) -> io::Result<()> {
        let mut away = false;
        loop {
            self.wait(away)?;
            away = self.hear()?;
            while let Some(frame) = self.decoder.next() {
                self.obey(frame)?;
            }
            let outbox = &mut self.outbox;
            let mut ended = Vec::new();
            for (job, running) in &mut self.jobs {
                if running.go_on(|frame| frame.encode(outbox))? {
                    ended.push(*job);
                }
            }
            for job in ended {
                self.jobs.remove(&job);
            }
            self.dying.retain_mut(|dying| !dying.is_gone());
            self.speak()?;
        }
    }

    /// Until there is something to do.
    fn wait(&self, away: bool) -> io::Result<()> {
        let mut all = Vec::new();
        // A port without a host is always ready, for its end.
        if !away {
            let mut wanted = PollFlags::IN;
            wanted.set(PollFlags::OUT, !self.outbox.is_empty());
            all.push(PollFd::new(&self.port, wanted));
        }
        for running in self.jobs.values() {
            all.extend(running.waits_for());
        }
        for dying in &self.dying {
            all.push(PollFd::from_borrowed_fd(dying.handle(), PollFlags::IN));
        }
        let patience = if self.jobs.values().any(Running::is_ready) {
            Some(&AT_ONCE)
        } else if away {
            Some(&LOOK_AGAIN)
        } else {
            None
        };
        match poll(&mut all, patience) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what the host says. `true`: it is away.
    fn hear(&mut self) -> io::Result<bool> {
        match rustix::io::read(&self.port, &mut self.chunk) {
            Ok(0) => Ok(true),
            Ok(length) => {
                self.decoder.push(&self.chunk[..length]);
                Ok(false)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes as much as the port takes.
    fn speak(&mut self) -> io::Result<()> {
        while !self.outbox.is_empty() {
            match rustix::io::write(&self.port, &self.outbox) {
                Ok(written) => drop(self.outbox.drain(..written)),
                // Or the host is away: it says hello when it is back, and what was for another is dropped then.
                Err(Errno::AGAIN | Errno::INTR | Errno::PIPE) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn obey(&mut self, frame: Frame) -> io::Result<()> {
        match frame {
            Frame::Hello { nonce } => {
                self.forget()?;
                self.tell(&Frame::Pong { nonce });
            }
            Frame::Ping { nonce } => self.tell(&Frame::Pong { nonce }),
            Frame::Run { job, launch } => {
                let answer = match Running::start(job, &launch) {
                    Ok(running) => {
                        let pid = running.pid();
                        self.jobs.insert(job, running);
                        Frame::Started { job, pid }
                    }
                    Err(error) => {
                        let reason = error.to_string();
                        Frame::Refused { job, reason }
                    }
                };
                self.tell(&answer);
            }
            Frame::Input { job, bytes } => self.of(job, |running| running.input(&bytes)),
            Frame::InputEnd { job } => self.of(job, Running::input_ends),
            Frame::Credit { job, bytes } => self.of(job, |running| running.credit(bytes)),
            Frame::Resize { job, size } => {
                if let Some(running) = self.jobs.get(&job) {
                    running.resize(size)?;
                }
            }
            Frame::Signal { job, number } => {
                if let Some(running) = self.jobs.get(&job) {
                    running.signal(number)?;
                }
            }
            // The agent's own words.
            Frame::Pong { .. }
            | Frame::Started { .. }
            | Frame::Refused { .. }
            | Frame::Output { .. }
            | Frame::Ended { .. } => {}
        }
        Ok(())
    }

    /// A new host: what was for another is killed, and what it had to hear is dropped. A frame of which a part has been sent is
    /// ended by the zero.
    fn forget(&mut self) -> io::Result<()> {
        self.outbox.clear();
        self.outbox.push(0);
        for (_, mut running) in std::mem::take(&mut self.jobs) {
            running.hang_up()?;
            self.dying.push(running);
        }
        Ok(())
    }

    /// One that has ended may still be spoken of.
    fn of(&mut self, job: Job, what: impl FnOnce(&mut Running)) {
        if let Some(running) = self.jobs.get_mut(&job) {
            what(running);
        }
    }

    fn tell(&mut self, frame: &Frame) {
        frame.encode(&mut self.outbox);
    }
}
