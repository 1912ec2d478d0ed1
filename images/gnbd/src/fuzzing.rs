//! Entrances for the fuzz targets in `fuzz/`, and for `tests/generated.rs`, which feeds the same functions with
//! generated inputs where there is no fuzzer. Each takes any bytes, and panics where the crate breaks a promise.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

pub use crate::server::fuzzing::{control_request, data_requests, local_request};

use crate::client::NbdRequest;
use crate::command::options::CommandLine;
use crate::protocol::{
    DATA_REPLY_SIZE, DataReply, ExportRecord, LOGIN_REPLY_SIZE, LoginReply, NAMES_RECORD_SIZE,
};

/// What a server may send to a client: headers, lists, logins. What is understood is written as it came.
pub fn server_words(input: &[u8]) {
    if let Some(header) = input.first_chunk::<DATA_REPLY_SIZE>() {
        if let Ok(reply) = DataReply::decode(header) {
            assert_eq!(DataReply::decode(&reply.encode()), Ok(reply));
        }
    }
    if let Some(bytes) = input.first_chunk::<LOGIN_REPLY_SIZE>() {
        let reply = LoginReply::decode(bytes);
        // A version without an error is not looked at.
        let wrong = matches!(reply, LoginReply::WrongVersion { .. });
        assert!(wrong || LoginReply::decode(&reply.encode()) == reply);
    }
    if let Ok(records) = ExportRecord::decode_all(input) {
        assert_eq!(records.len(), input.len() / NAMES_RECORD_SIZE);
        for record in records {
            assert_eq!(ExportRecord::decode(&record.encode()), Ok(record));
        }
    }
    if let Some(header) = input.first_chunk() {
        if let Some(request) = NbdRequest::decode(header) {
            assert_eq!(NbdRequest::decode(&request.encode()), Some(request));
        }
    }
}

/// The programs' option letters.
const SPECIFICATIONS: [&str; 4] = [
    "b:fhkKm:np:qvV",
    "acd:e:hlLOoqrRt:u:U::vV",
    "ac:D::e:F::hi:lm:nOp:qRrs:t:U:u:Vvw:",
    "hM:mo:p:qs:t:Vv",
];

/// A command line, its words separated by NUL. Nothing of it is lost.
pub fn command_line(input: &[u8]) {
    let words = input.split(|byte| *byte == 0);
    let words: Vec<OsString> = words
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect();
    for specification in SPECIFICATIONS {
        let Ok(line) = CommandLine::parse(specification, words.iter().cloned()) else {
            continue;
        };
        let values = line.options.iter().filter_map(|(_, value)| value.as_ref());
        let kept: usize = values.chain(&line.operands).map(String::len).sum();
        let given: usize = words.iter().map(|word| word.len()).sum();
        assert!(kept + line.options.len() <= given);
        for (letter, value) in &line.options {
            assert!(specification.contains(*letter));
            assert!(line.has(*letter));
            assert!(value.is_none() || line.value(*letter).is_some());
        }
    }
    if let Ok(text) = std::str::from_utf8(input) {
        crate::command::fuzz_uid_command(text);
    }
}
