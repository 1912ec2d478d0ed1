//! Byte for byte, both directions. The vectors are written from the specification, by hand, and not by the code.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use gnbd::protocol::{
    Command, DataReply, DataRequest, DeviceName, ExportRecord, LoginReply, LoginRequest, NodeName,
    Number, PORT, ProtocolError, Request, VERSION, list_reply,
};

/// Hexadecimal digits with blanks, `*N` for N more zero bytes.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        if let Some(count) = word.strip_prefix('*') {
            bytes.resize(bytes.len() + count.parse::<usize>().unwrap(), 0);
            continue;
        }
        for at in (0..word.len()).step_by(2) {
            bytes.push(u8::from_str_radix(&word[at..at + 2], 16).unwrap());
        }
    }
    bytes
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    bytes(text).try_into().unwrap()
}

fn device() -> DeviceName {
    DeviceName::new("gnbd0a").unwrap()
}

fn node() -> NodeName {
    NodeName::new("client0").unwrap()
}

/// `gnbd0a` in its 32 bytes.
const DEVICE: &str = "676e62643061 *26";
/// `client0` in its 65 bytes.
const NODE: &str = "636c69656e7430 *58";

#[test]
fn constants() {
    assert_eq!(PORT, 0x38e7);
    assert_eq!(VERSION, 2);
}

#[test]
fn control_requests() {
    let login = LoginRequest {
        timestamp: 0x0102_0304_0506_0708,
        version: 2,
        device: device(),
        node: node(),
    };
    let kill = Request::KillServer {
        device: device(),
        node: node(),
    };
    let vectors = [
        (Request::Names, "00000001".to_owned(), 4),
        (Request::Fence(node()), format!("00000002 {NODE}"), 69),
        (Request::Unfence(node()), format!("00000003 {NODE}"), 69),
        (Request::ListBanned, "00000004".to_owned(), 4),
        (kill, format!("00000005 {DEVICE} {NODE}"), 101),
        (
            Request::Login(login),
            format!("00000006 0102030405060708 0002 000000000000 {DEVICE} {NODE}"),
            117,
        ),
        (Request::NodeName, "00000007".to_owned(), 4),
        (Request::Uid(device()), format!("00000008 {DEVICE}"), 36),
    ];
    for (request, text, size) in vectors {
        let wire = bytes(&text);
        assert_eq!(wire.len(), size, "{request:?}");
        assert_eq!(request.encode(), wire, "{request:?}");
        let number = Number::decode(wire[..4].try_into().unwrap()).unwrap();
        assert_eq!(number, request.number());
        assert_eq!(number.body_size(), size - 4);
        assert_eq!(Request::decode(number, &wire[4..]), Ok(request));
    }
}

#[test]
fn control_requests_that_are_none() {
    for number in [0_u32, 9, 0x0100_0000, u32::MAX] {
        assert_eq!(
            Number::decode(number.to_be_bytes()),
            Err(ProtocolError::UnknownRequest(number))
        );
    }
    let body = |text: &str| Request::decode(Number::Uid, &bytes(text));
    assert_eq!(
        body("67 *30"),
        Err(ProtocolError::WrongLength {
            expected: 32,
            got: 31
        })
    );
    assert_eq!(body("*32"), Err(ProtocolError::EmptyName));
    assert_eq!(body(&"41".repeat(32)), Err(ProtocolError::Unterminated));
    assert_eq!(body("612f62 *29"), Err(ProtocolError::InvalidName));
    assert_eq!(body("2e2e *30"), Err(ProtocolError::InvalidName));
    // What stands behind the NUL is not looked at.
    assert_eq!(
        body("676e62643061 00 ffffff *22"),
        Ok(Request::Uid(device()))
    );
    // A version that is not ours is the server's matter, not the parser's.
    let old = bytes(&format!(
        "0000000000000001 0001 ffffffffffff {DEVICE} {NODE}"
    ));
    assert!(matches!(
        Request::decode(Number::Login, &old),
        Ok(Request::Login(LoginRequest {
            version: 1,
            timestamp: 1,
            ..
        }))
    ));
}

#[test]
fn names_records_are_little_endian() {
    let record = ExportRecord {
        timeout: 60,
        read_only: true,
        name: device(),
    };
    let wire: [u8; 40] = array(&format!("3c000000 0100 {DEVICE} 0000"));
    assert_eq!(record.encode(), wire);
    assert_eq!(ExportRecord::decode(&wire), Ok(record.clone()));
    // Padding and unknown flags are undefined.
    let odd = array(&format!("3c000000 0780 {DEVICE} abcd"));
    assert_eq!(ExportRecord::decode(&odd), Ok(record.clone()));

    let cached = ExportRecord {
        timeout: 0,
        read_only: false,
        name: device(),
    };
    let both = bytes(&format!(
        "3c000000 0100 {DEVICE} 0000 00000000 0000 {DEVICE} 0000"
    ));
    assert_eq!(ExportRecord::decode_all(&both), Ok(vec![record, cached]));
    assert_eq!(ExportRecord::decode_all(&[]), Ok(vec![]));
    assert_eq!(
        ExportRecord::decode_all(&both[..79]),
        Err(ProtocolError::WrongLength {
            expected: 80,
            got: 79
        })
    );
}

#[test]
fn lists() {
    assert_eq!(list_reply(&[]), bytes("00000000 00000000"));
    assert_eq!(
        list_reply(b"storage0a\0"),
        bytes("00000000 0000000a 73746f726167653061 00")
    );
}

#[test]
fn login_replies() {
    let vectors = [
        (
            LoginReply::Welcome { sectors: 2_096_944 },
            "00000000001fff30 0000 00 *5",
        ),
        (LoginReply::WrongVersion { version: 2 }, "*8 0002 16 *5"),
        (LoginReply::Refused { errno: 1 }, "*8 0000 01 *5"),
        (LoginReply::Refused { errno: 19 }, "*8 0000 13 *5"),
    ];
    for (reply, text) in vectors {
        assert_eq!(reply.encode(), array(text));
        assert_eq!(LoginReply::decode(&array(text)), reply);
    }
    // The end is undefined.
    assert_eq!(
        LoginReply::decode(&array("0000000000000001 0000 00 ffffffffff")),
        LoginReply::Welcome { sectors: 1 }
    );
}

#[test]
fn data_requests() {
    let handle = [0xde, 0xad, 0xbe, 0xef, 0, 1, 2, 3];
    let request = |command, offset, length| DataRequest {
        command,
        handle,
        offset,
        length,
    };
    let vectors = [
        (
            request(Command::Read, 0x1_0000_0000, 131_072),
            "37a07e00 00000000 deadbeef00010203 0000000100000000 00020000",
        ),
        (
            request(Command::Write, 512, 4096),
            "37a07e00 00000001 deadbeef00010203 0000000000000200 00001000",
        ),
        (
            request(Command::Disconnect, 0, 0),
            "37a07e00 00000002 deadbeef00010203 0000000000000000 00000000",
        ),
        (
            request(Command::Ping, 0, 0),
            "37a07e00 00000003 deadbeef00010203 0000000000000000 00000000",
        ),
    ];
    for (request, text) in vectors {
        assert_eq!(request.encode(), array(text));
        assert_eq!(DataRequest::decode(&array(text)), Ok(request));
    }
    let error = |text: &str| DataRequest::decode(&array(text)).unwrap_err();
    assert_eq!(
        error("25609513 00000000 deadbeef00010203 0000000000000000 00000200"),
        ProtocolError::BadMagic(0x2560_9513)
    );
    assert_eq!(
        error("37a07e00 00000004 deadbeef00010203 0000000000000000 ffffffff"),
        ProtocolError::UnknownCommand { command: 4, handle }
    );
    for command in ["00000000", "00000001"] {
        let text = format!("37a07e00 {command} deadbeef00010203 0000000000000000 00020001");
        assert_eq!(error(&text), ProtocolError::TooLong(131_073));
    }
}

#[test]
fn data_replies() {
    let handle = [1, 2, 3, 4, 5, 6, 7, 8];
    let vectors = [
        (
            DataReply::Reply { error: 0, handle },
            "41f09370 00000000 0102030405060708",
        ),
        (
            DataReply::Reply {
                error: u32::MAX,
                handle,
            },
            "41f09370 ffffffff 0102030405060708",
        ),
        (DataReply::KeepAlive, "5b46d8c2 *12"),
    ];
    for (reply, text) in vectors {
        assert_eq!(reply.encode(), array(text));
        assert_eq!(DataReply::decode(&array(text)), Ok(reply));
    }
    // Garbage behind a keep-alive's magic is no error and no handle.
    assert_eq!(
        DataReply::decode(&array("5b46d8c2 ffffffff 0102030405060708")),
        Ok(DataReply::KeepAlive)
    );
    assert_eq!(
        DataReply::decode(&array("67446698 00000000 0102030405060708")),
        Err(ProtocolError::BadMagic(0x6744_6698))
    );
}
