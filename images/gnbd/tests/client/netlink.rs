//! Generic netlink, byte for byte, written from linux/netlink.h, linux/genetlink.h and linux/nbd-netlink.h.

use gnbd::client::netlink::{
    Answer, Attach, HAS_FLAGS, Malformed, READ_ONLY, answers, connect, disconnect, get_family,
    reconfigure, status,
};

/// Bytes from hexadecimal words; blanks and line ends are nothing.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|digit| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn attach() -> Attach {
    Attach {
        index: 3,
        bytes: 0x4000_0000,
        block_size: 512,
        flags: HAS_FLAGS | READ_ONLY,
        timeout: 120,
        dead_timeout: 1_000_000,
        identifier: "gnbd0a".to_owned(),
        socket: 7,
    }
}

#[test]
#[cfg(target_endian = "little")]
fn the_family_is_looked_up() {
    // nlmsghdr: length, type GENL_ID_CTRL, REQUEST|ACK, sequence, pid; genlmsghdr: CTRL_CMD_GETFAMILY, 1.
    let expected = "1c000000 1000 0500 01000000 00000000  03 01 0000  0800 0200 6e626400";
    assert_eq!(get_family(1), hex(expected));
}

#[test]
#[cfg(target_endian = "little")]
fn a_device_is_connected() {
    let expected = "
        74000000 1d00 0500 05000000 00000000  01 01 0000
        0800 0100 03000000
        0c00 0200 0000004000000000
        0c00 0300 0002000000000000
        0c00 0500 0300000000000000
        0c00 0400 7800000000000000
        0c00 0800 40420f0000000000
        1000 0780  0c00 0180  0800 0100 07000000
        0b00 0a00 676e6264306100 00";
    assert_eq!(connect(0x1d, 5, &attach()), hex(expected));
    let mut writable = attach();
    writable.flags = HAS_FLAGS;
    assert_eq!(connect(0x1d, 5, &writable)[56], 1);
}

#[test]
#[cfg(target_endian = "little")]
fn a_device_is_reconfigured() {
    let expected = "
        50000000 1d00 0500 06000000 00000000  03 01 0000
        0800 0100 03000000
        0c00 0400 7800000000000000
        0c00 0800 40420f0000000000
        1000 0780  0c00 0180  0800 0100 07000000
        0b00 0a00 676e6264306100 00";
    assert_eq!(reconfigure(0x1d, 6, &attach()), hex(expected));
}

#[test]
#[cfg(target_endian = "little")]
fn a_device_is_disconnected_and_all_are_listed() {
    let expected = "1c000000 1d00 0500 02000000 00000000  02 01 0000  0800 0100 03000000";
    assert_eq!(disconnect(0x1d, 2, 3), hex(expected));
    assert_eq!(
        status(0x1d, 2),
        hex("14000000 1d00 0500 02000000 00000000  05 01 0000")
    );
}

#[test]
#[cfg(target_endian = "little")]
fn answers_are_understood() {
    // The controller's answer has more attributes than the one that is of use, nested ones among them.
    let family = hex("
        38000000 1000 0000 01000000 99000000  01 02 0000
        0800 0200 6e626400
        0600 0100 1d00 0000
        0800 0300 01000000
        0c00 0680 0800 0180 00000000");
    let acknowledged =
        hex("24000000 0200 0001 01000000 99000000 00000000  1c000000 1000 0500 01000000 00000000");
    let both = [family.clone(), acknowledged].concat();
    assert_eq!(
        answers(&both, 0, 1),
        Ok(vec![Answer::Family(0x1d), Answer::Done(Ok(()))])
    );
    // Another request's answer is none of ours.
    assert_eq!(answers(&family, 0, 2), Ok(vec![]));
    let refused =
        hex("24000000 0200 0000 05000000 99000000 f0ffffff  1c000000 1d00 0500 05000000 00000000");
    assert_eq!(answers(&refused, 0x1d, 5), Ok(vec![Answer::Done(Err(16))]));
    let connected = hex("1c000000 1d00 0000 05000000 99000000  01 01 0000  0800 0100 03000000");
    assert_eq!(answers(&connected, 0x1d, 5), Ok(vec![Answer::Connected(3)]));
    let devices = hex("
        40000000 1d00 0000 02000000 99000000  05 01 0000
        2c00 0900
        1400 0100  0800 0100 00000000  0500 0200 01 000000
        1400 0100  0800 0100 05000000  0500 0200 00 000000");
    let list = vec![Answer::Devices(vec![(0, true), (5, false)])];
    assert_eq!(answers(&devices, 0x1d, 2), Ok(list));
}

#[test]
#[cfg(target_endian = "little")]
fn no_bytes_make_it_panic() {
    let message = hex("1c000000 1d00 0000 05000000 99000000  01 01 0000  0800 0100 03000000");
    for end in 1..message.len() {
        assert_eq!(answers(&message[..end], 0x1d, 5), Err(Malformed));
    }
    let mut state = 1_u64;
    for _ in 0..200_000 {
        let mut bytes = message.clone();
        for _ in 0..4 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = usize::try_from(state >> 33).unwrap() % bytes.len();
            bytes[at] = state.to_be_bytes()[0];
        }
        let _ = answers(&bytes, 0x1d, 5);
    }
}
