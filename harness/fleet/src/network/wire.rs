//! How frames stand in the byte stream of QEMU's `-netdev stream`: a length of four bytes, big-endian, then the frame.
//! In and out are the same, so frames that go to the same port are forwarded as they were read, many at a time.

/// Bytes of the length in front of a frame.
pub(crate) const PREFIX: usize = 4;
/// Bytes of the largest frame: an IP packet of 65536 bytes with Ethernet header and VLAN tag.
pub(crate) const MAX_FRAME: usize = 65_536 + 18;
/// Bytes of an Ethernet header: nothing shorter has an address to forward by.
pub(crate) const ETHERNET_HEADER: usize = 14;

/// What stands at the beginning of a piece of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A whole frame; so many bytes with its prefix.
    Whole(usize),
    /// Too few bytes to tell, or to hold the frame.
    Partial,
    /// No sender means this length: the stream is out of step for good.
    Malformed(u32),
}

/// Looks at the frame that `stream` begins with.
pub(crate) fn next(stream: &[u8]) -> Next {
    let Some(prefix) = stream.first_chunk::<PREFIX>() else {
        return Next::Partial;
    };
    let length = u32::from_be_bytes(*prefix);
    match usize::try_from(length) {
        Ok(bytes) if (1..=MAX_FRAME).contains(&bytes) => {
            let whole = PREFIX + bytes;
            if stream.len() < whole {
                Next::Partial
            } else {
                Next::Whole(whole)
            }
        }
        _ => Next::Malformed(length),
    }
}

/// The frames of a stream that is known to consist of whole ones, each with its prefix.
pub(crate) fn frames(mut stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || match next(stream) {
        Next::Whole(bytes) => {
            let (frame, rest) = stream.split_at(bytes);
            stream = rest;
            Some(frame)
        }
        Next::Partial | Next::Malformed(_) => None,
    })
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

impl Mac {
    /// Broadcast is a multicast address too.
    pub(crate) fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

/// Destination and source of a frame that is given with its prefix; `None` for one without a full header.
pub(crate) fn addresses(frame: &[u8]) -> Option<(Mac, Mac)> {
    let header = frame.get(PREFIX..PREFIX + ETHERNET_HEADER)?;
    let (destination, rest) = header.split_first_chunk::<6>()?;
    let source = rest.first_chunk::<6>()?;
    Some((Mac(*destination), Mac(*source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_at_the_borders() {
        assert_eq!(next(&[0, 0, 0]), Next::Partial);
        assert_eq!(next(&[0, 0, 0, 0]), Next::Malformed(0));
        assert_eq!(next(&[0, 0, 0, 2, 9]), Next::Partial);
        assert_eq!(next(&[0, 0, 0, 2, 9, 9, 0]), Next::Whole(6));
        assert_eq!(next(&65_554_u32.to_be_bytes()), Next::Partial);
        assert_eq!(next(&65_555_u32.to_be_bytes()), Next::Malformed(65_555));
        assert_eq!(next(b"HTTP"), Next::Malformed(0x4854_5450));
    }

    #[test]
    fn a_runt_has_no_addresses() {
        assert_eq!(
            addresses(&[0, 0, 0, 13, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]),
            None
        );
        let frame = [0, 0, 0, 14, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0];
        assert_eq!(
            addresses(&frame),
            Some((Mac([1, 2, 3, 4, 5, 6]), Mac([7, 8, 9, 10, 11, 12])))
        );
    }
}
