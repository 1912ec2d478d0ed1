//! What the host and the agent tell each other: frames on a stream of bytes. The host's end is compiled from this very file.
//!
//! A frame is its length, its kind and its fields, encoded so that no byte of it is zero (consistent overhead byte stuffing,
//! Cheshire and Baker 1999), and then a zero. A guest that goes on from a saved state may have read one half of a frame and
//! get another host: the next zero ends that half, which has not its length and is dropped.
//!
//! Outputs and input flow by windows: of each job and direction no more than [`WINDOW`] bytes are under way, until the
//! receiver gives credit for what it has taken. So a loud command waits for its reader, and holds up nobody else.

use std::collections::VecDeque;

/// The port's name in the guest.
pub const PORT_NAME: &str = "org.sanlab.agent";

/// How many bytes of input, or of both outputs together, may be under way without credit.
pub const WINDOW: u32 = 64 << 10;
/// How many of them one frame carries at most.
pub const PIECE: usize = 16 << 10;
/// The longest frame, before it is encoded: one that has a command's arguments.
pub const LONGEST: usize = 256 << 10;

/// The number by which the host knows a command; none is used twice.
pub type Job = u32;

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// What is to be run, in a session of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launch {
    /// The program and its arguments; one without a slash is looked for in `PATH`.
    pub argv: Vec<Vec<u8>>,
    /// `NAME=VALUE`, beside the agent's own.
    pub environment: Vec<Vec<u8>>,
    /// On a terminal of this size instead of pipes.
    pub terminal: Option<TerminalSize>,
}

/// Which of a command's two outputs; a terminal has the first only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With this code.
    Exited(u8),
    /// By this signal.
    Signalled(u8),
}

/// One thing that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// From the host: it is new here. What was run for another is killed.
    Hello {
        /// Comes back in the answer.
        nonce: u64,
    },
    /// From the host: does the agent answer?
    Ping {
        /// Comes back in the answer.
        nonce: u64,
    },
    /// The answer to both.
    Pong {
        /// Of the question.
        nonce: u64,
    },
    /// From the host: start this.
    Run {
        /// Its number from now on.
        job: Job,
        /// What to run.
        launch: Launch,
    },
    /// From the host: something for the command to read.
    Input {
        /// Whose.
        job: Job,
        /// At most [`PIECE`].
        bytes: Vec<u8>,
    },
    /// From the host: that was all. On a terminal it is its end-of-file character.
    InputEnd {
        /// Whose.
        job: Job,
    },
    /// From the host: the terminal has this size now.
    Resize {
        /// Whose.
        job: Job,
        /// Its size.
        size: TerminalSize,
    },
    /// From the host: a signal for the command's process group; SIGKILL is for its whole session.
    Signal {
        /// Whose.
        job: Job,
        /// As the kernel counts them.
        number: u8,
    },
    /// From either: so many bytes have been taken, and as many more may be sent.
    Credit {
        /// Whose.
        job: Job,
        /// How many.
        bytes: u32,
    },
    /// From the agent: it has been started.
    Started {
        /// Which.
        job: Job,
        /// Its process, and its session.
        pid: u32,
    },
    /// From the agent: it could not be started. Nothing more comes of it.
    Refused {
        /// Which.
        job: Job,
        /// Why.
        reason: String,
    },
    /// From the agent: something that the command wrote.
    Output {
        /// Whose.
        job: Job,
        /// Where to.
        stream: Stream,
        /// At most [`PIECE`].
        bytes: Vec<u8>,
    },
    /// From the agent: it has ended, and all that it had written by then has been told. Nothing more comes of it.
    Ended {
        /// Which.
        job: Job,
        /// How.
        ending: Ending,
    },
}

impl Frame {
    /// Appends the frame as it is sent.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Writer(vec![0; 4]);
        self.write(&mut body);
        let mut bytes = body.0;
        let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        stuff(&bytes, out);
    }

    fn write(&self, to: &mut Writer) {
        match self {
            Self::Hello { nonce } => to.byte(0).bytes(&nonce.to_le_bytes()),
            Self::Ping { nonce } => to.byte(1).bytes(&nonce.to_le_bytes()),
            Self::Pong { nonce } => to.byte(12).bytes(&nonce.to_le_bytes()),
            Self::Run { job, launch } => {
                to.byte(2).number(*job).list(&launch.argv);
                to.list(&launch.environment);
                let size = launch.terminal;
                to.byte(u8::from(size.is_some())).size(size)
            }
            Self::Input { job, bytes } => to.byte(3).number(*job).bytes(bytes),
            Self::InputEnd { job } => to.byte(4).number(*job),
            Self::Resize { job, size } => to.byte(5).number(*job).size(Some(*size)),
            Self::Signal { job, number } => to.byte(6).number(*job).byte(*number),
            Self::Credit { job, bytes } => to.byte(7).number(*job).number(*bytes),
            Self::Started { job, pid } => to.byte(8).number(*job).number(*pid),
            Self::Refused { job, reason } => to.byte(9).number(*job).bytes(reason.as_bytes()),
            Self::Output { job, stream, bytes } => {
                let stream = u8::from(*stream == Stream::Stderr);
                to.byte(10).number(*job).byte(stream).bytes(bytes)
            }
            Self::Ended { job, ending } => {
                let (signal, number) = match ending {
                    Ending::Exited(code) => (0, *code),
                    Ending::Signalled(signal) => (1, *signal),
                };
                to.byte(11).number(*job).byte(signal).byte(number)
            }
        };
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let length = usize::try_from(from.number()?).ok()?;
        if from.0.len() != length {
            return None;
        }
        let kind = from.byte()?;
        if let 0 | 1 | 12 = kind {
            let nonce = u64::from_le_bytes(from.0.try_into().ok()?);
            return Some(match kind {
                0 => Self::Hello { nonce },
                1 => Self::Ping { nonce },
                _ => Self::Pong { nonce },
            });
        }
        let job = from.number()?;
        Some(match kind {
            2 => {
                let argv = from.list()?;
                let environment = from.list()?;
                let is_terminal = from.byte()? == 1;
                let terminal = from.size()?;
                let terminal = is_terminal.then_some(terminal);
                let launch = Launch {
                    argv,
                    environment,
                    terminal,
                };
                Self::Run { job, launch }
            }
            3 => Self::Input {
                job,
                bytes: from.0.to_vec(),
            },
            4 => Self::InputEnd { job },
            5 => Self::Resize {
                job,
                size: from.size()?,
            },
            6 => Self::Signal {
                job,
                number: from.byte()?,
            },
            7 => Self::Credit {
                job,
                bytes: from.number()?,
            },
            8 => Self::Started {
                job,
                pid: from.number()?,
            },
            9 => Self::Refused {
                job,
                reason: String::from_utf8_lossy(from.0).into_owned(),
            },
            10 => Self::Output {
                job,
                stream: match from.byte()? {
                    0 => Stream::Stdout,
                    _ => Stream::Stderr,
                },
                bytes: from.0.to_vec(),
            },
            11 => {
                let is_signal = from.byte()? == 1;
                let number = from.byte()?;
                let ending = if is_signal {
                    Ending::Signalled(number)
                } else {
                    Ending::Exited(number)
                };
                Self::Ended { job, ending }
            }
            _ => return None,
        })
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn number(&mut self, number: u32) -> &mut Self {
        self.bytes(&number.to_le_bytes())
    }

    fn size(&mut self, size: Option<TerminalSize>) -> &mut Self {
        let (rows, columns) = size.map_or((0, 0), |size| (size.rows, size.columns));
        self.bytes(&rows.to_le_bytes())
            .bytes(&columns.to_le_bytes())
    }

    fn list(&mut self, words: &[Vec<u8>]) -> &mut Self {
        let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        self.number(length(words.len()));
        for word in words {
            self.number(length(word.len())).bytes(word);
        }
        self
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u32> {
        let bytes = self.take(4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    }

    fn size(&mut self) -> Option<TerminalSize> {
        let rows = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        let columns = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        Some(TerminalSize { rows, columns })
    }

    fn list(&mut self) -> Option<Vec<Vec<u8>>> {
        let words = self.number()?;
        let mut list = Vec::new();
        for _ in 0..words {
            let length = usize::try_from(self.number()?).ok()?;
            list.push(self.take(length)?.to_vec());
        }
        Some(list)
    }
}

/// A run of bytes without a zero is written behind its length plus one; 255 says that no zero follows it.
const RUN: usize = 254;

/// Appends the bytes without any zero, and a zero.
fn stuff(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + bytes.len() / RUN + 2);
    let mut rest = bytes;
    loop {
        let run = rest.iter().take(RUN).position(|byte| *byte == 0);
        let length = run.unwrap_or(rest.len().min(RUN));
        // At most 255.
        out.push(u8::try_from(length + 1).unwrap_or(u8::MAX));
        out.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
        match run {
            Some(_) => rest = &rest[1..],
            None if rest.is_empty() => break,
            None => {}
        }
    }
    out.push(0);
}

/// What was stuffed; `None` for what never was.
fn unstuff(mut stuffed: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(stuffed.len());
    while let Some((code, rest)) = stuffed.split_first() {
        let length = usize::from(*code).checked_sub(1)?;
        let (run, rest) = rest.split_at_checked(length)?;
        bytes.extend_from_slice(run);
        stuffed = rest;
        if length < RUN && !stuffed.is_empty() {
            bytes.push(0);
        }
    }
    Some(bytes)
}

/// Frames out of what comes, whatever its pieces. What is no frame is dropped.
#[derive(Debug, Default)]
pub struct Decoder {
    begun: Vec<u8>,
    /// What has begun is too long to be a frame.
    overlong: bool,
    frames: VecDeque<Frame>,
}

impl Decoder {
    /// Takes in what has come.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            self.keep(&bytes[..end]);
            if !self.overlong {
                let frame = unstuff(&self.begun).and_then(|bytes| Frame::read(&bytes));
                self.frames.extend(frame);
            }
            self.begun.clear();
            self.overlong = false;
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        // Stuffing makes it longer by less than a hundredth.
        self.overlong |= self.begun.len() + bytes.len() > LONGEST + LONGEST / 100 + 16;
        if self.overlong {
            self.begun.clear();
        } else {
            self.begun.extend_from_slice(bytes);
        }
    }
}

impl Iterator for Decoder {
    type Item = Frame;

    /// The next whole frame of what has come so far.
    fn next(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }
}
