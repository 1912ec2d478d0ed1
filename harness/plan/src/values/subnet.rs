//! The addresses of a network as authors write them: parse and print.

use std::fmt;
use std::net::Ipv4Addr;

/// An IPv4 subnet: an address and the number of bits that all of its addresses have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subnet {
    address: Ipv4Addr,
    length: u8,
}

/// The number of a subnet's first node, counted from its address.
const FIRST: u32 = 10;

/// A subnet of more bits has no room for two nodes from [`FIRST`] on.
const LONGEST: u8 = 28;
/// One of fewer bits is larger than any network.
const SHORTEST: u8 = 8;

/// Why a subnet was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SubnetError {
    /// What would be accepted.
    pub reason: String,
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, SubnetError> {
    Err(SubnetError {
        reason: reason.into(),
    })
}

impl Subnet {
    /// The one that the network of that place in a scenario has unless it says another: 10.77.0.0/24 and those after it.
    pub const fn of_place(place: u8) -> Self {
        Self {
            address: Ipv4Addr::new(10, 77, place, 0),
            length: 24,
        }
    }

    /// Parses `192.168.7.0/24`.
    pub fn parse(text: &str) -> Result<Self, SubnetError> {
        let form = || SubnetError {
            reason: "a subnet is an IPv4 address and a prefix length, such as `192.168.7.0/24`"
                .to_owned(),
        };
        let (address, length) = text.split_once('/').ok_or_else(form)?;
        let address: Ipv4Addr = address.parse().map_err(|_| form())?;
        let length: u8 = length.parse().map_err(|_| form())?;
        if !(SHORTEST..=LONGEST).contains(&length) {
            return refuse(format!(
                "the prefix length is {SHORTEST} to {LONGEST}: nodes have the addresses from the {FIRST}th on"
            ));
        }
        let subnet = Self { address, length };
        let begin = u32::from(address) & subnet.mask();
        if begin != u32::from(address) {
            let address = Ipv4Addr::from(begin);
            return refuse(format!(
                "the address is that of the subnet itself: `{address}/{length}`"
            ));
        }
        let first = address.octets()[0];
        if first == 0 || first == 127 || first >= 224 {
            return refuse("no host has such an address; take one of 10.0.0.0/8 or 192.168.0.0/16");
        }
        Ok(subnet)
    }

    /// The address of the node of that number.
    pub fn address_of(self, node: u8) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) + FIRST + u32::from(node))
    }

    /// Its first address, which is no node's.
    pub fn host(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) + 1)
    }

    /// How many nodes it has addresses for; the last address is that of everybody.
    pub const fn room(self) -> u32 {
        !self.mask() - FIRST
    }

    /// Bits that all of its addresses have in common.
    pub const fn length(self) -> u8 {
        self.length
    }

    /// Whether an address is in both.
    pub fn overlaps(self, other: Self) -> bool {
        let mask = self.mask() & other.mask();
        u32::from(self.address) & mask == u32::from(other.address) & mask
    }

    const fn mask(self) -> u32 {
        u32::MAX << (32 - self.length)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl fmt::Debug for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Subnet;

    #[test]
    fn subnets_are_read_and_give_addresses() {
        let subnet = Subnet::parse("192.168.7.64/26").unwrap();
        assert_eq!(subnet.to_string(), "192.168.7.64/26");
        assert_eq!(subnet.address_of(31).to_string(), "192.168.7.105");
        assert_eq!(subnet.room(), 53);
        assert_eq!(Subnet::of_place(0).room(), 245);
        assert_eq!(Subnet::of_place(0).address_of(0).to_string(), "10.77.0.10");
        for text in [
            "",
            "10.77.0.0",
            "10.77.0.0/",
            "10.77.0.0/7",
            "10.77.0.0/29",
            "10.77.0.1/24",
            "127.0.0.0/8",
            "0.0.0.0/8",
            "224.0.0.0/24",
            "10.77.0/24",
        ] {
            assert!(Subnet::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn subnets_overlap_where_one_is_part_of_the_other() {
        let overlap = |one, other| {
            let [one, other] = [one, other].map(|text| Subnet::parse(text).unwrap());
            one.overlaps(other) && other.overlaps(one)
        };
        assert!(overlap("10.0.0.0/8", "10.77.3.0/24"));
        assert!(overlap("10.77.3.0/24", "10.77.3.0/24"));
        assert!(!overlap("10.77.3.0/24", "10.77.4.0/24"));
        assert!(!overlap("192.168.7.0/26", "192.168.7.64/26"));
    }
}
