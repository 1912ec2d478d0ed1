//! The smallest facts; the vectors are in `tests/vectors.rs`.

use super::*;

#[test]
fn names_are_checked() {
    assert_eq!(DeviceName::new("a/b"), Err(ProtocolError::InvalidName));
    assert_eq!(DeviceName::new(".."), Err(ProtocolError::InvalidName));
    assert_eq!(DeviceName::new(""), Err(ProtocolError::EmptyName));
    assert_eq!(NodeName::new("a\nb"), Err(ProtocolError::InvalidName));
    let long = "x".repeat(32);
    assert_eq!(
        DeviceName::new(&long),
        Err(ProtocolError::NameTooLong { limit: 31 })
    );
    assert!(DeviceName::new(&long[1..]).is_ok());
    assert_eq!(
        DeviceName::decode(&[b'x'; 32]),
        Err(ProtocolError::Unterminated)
    );
    assert_eq!(
        DeviceName::decode(&[0xff; 32]),
        Err(ProtocolError::Unterminated)
    );
}
