//! What makes a booted guest a member: all images are alike, and know neither name nor address.

use std::fmt::Write as _;

use crate::spec::{FleetSpec, NodeSpec};

/// The script for busybox's shell that makes a guest the member `me`. It may run again: a guest that was forked from
/// another has that one's identity before.
pub(crate) fn script(me: &NodeSpec, fleet: &FleetSpec) -> String {
    let (name, mtu) = (&me.name, me.mtu(fleet.mtu));
    let mut hosts = "127.0.0.1 localhost\n".to_owned();
    let mut narrow = String::new();
    for member in &fleet.members {
        let (address, other) = (member.address(), member.mtu(fleet.mtu));
        line(
            &mut hosts,
            format_args!("{address} {0} {0}.local", member.name),
        );
        if other < mtu {
            // Only TCP agrees on a size by itself; a larger datagram would be lost without a word.
            line(
                &mut narrow,
                format_args!("ip route replace {address}/32 dev eth0 mtu {other}"),
            );
        }
    }
    format!(
        "hostname {name}\n\
         echo {name} >/etc/hostname\n\
         cat >/etc/hosts <<'END'\n\
         {hosts}END\n\
         ip link set lo up\n\
         ip link set eth0 down\n\
         ip addr flush dev eth0\n\
         ip link set eth0 address {mac}\n\
         ip link set eth0 mtu {mtu}\n\
         ip addr add {address}/24 dev eth0\n\
         ip link set eth0 up\n\
         {narrow}",
        mac = me.mac(),
        address = me.address(),
    )
}

/// The script that tells whether packets of full size go to and fro between `me` and each of `others`.
pub(crate) fn reach_script(me: &NodeSpec, others: &[&NodeSpec], fleet: &FleetSpec) -> String {
    let mut script = String::new();
    for other in others {
        // Less the headers of IP (20 bytes) and ICMP (8).
        let payload = me
            .mtu(fleet.mtu)
            .min(other.mtu(fleet.mtu))
            .saturating_sub(28);
        line(
            &mut script,
            format_args!(
                "ping -c 1 -W 1 -s {payload} {0} >/dev/null || {{ echo \"no answer to {payload} bytes from {0}\"; exit 1; }}",
                other.name
            ),
        );
    }
    script
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sanlab_plan::{Arch, NicModel};
    use sanlab_vm::AcceleratorWish;

    use super::*;

    fn fleet() -> FleetSpec {
        let member = |number: u8, name: &str, nic| NodeSpec {
            name: name.to_owned(),
            number,
            arch: Arch::X86,
            nic,
            memory_mib: 256,
            cpus: 1,
            disk_bytes: 1 << 30,
        };
        FleetSpec {
            images: BTreeMap::new(),
            mtu: 65_000,
            accelerator: AcceleratorWish::Auto,
            logs: "logs".into(),
            capture: Vec::new(),
            members: vec![
                member(0, "vix0", NicModel::VirtioNet),
                member(1, "vix1", NicModel::VirtioNet),
                member(4, "vc", NicModel::E1000),
            ],
        }
    }

    #[test]
    fn a_paravirtual_card_takes_the_networks_mtu() {
        let fleet = fleet();
        insta::assert_snapshot!(script(&fleet.members[0], &fleet), @r#"
        hostname vix0
        echo vix0 >/etc/hostname
        cat >/etc/hosts <<'END'
        127.0.0.1 localhost
        10.77.0.10 vix0 vix0.local
        10.77.0.11 vix1 vix1.local
        10.77.0.14 vc vc.local
        END
        ip link set lo up
        ip link set eth0 down
        ip addr flush dev eth0
        ip link set eth0 address 52:54:00:4d:00:00
        ip link set eth0 mtu 65000
        ip addr add 10.77.0.10/24 dev eth0
        ip link set eth0 up
        ip route replace 10.77.0.14/32 dev eth0 mtu 16110
        "#);
    }

    #[test]
    fn an_emulated_card_takes_what_it_can() {
        let fleet = fleet();
        insta::assert_snapshot!(script(&fleet.members[2], &fleet), @r#"
        hostname vc
        echo vc >/etc/hostname
        cat >/etc/hosts <<'END'
        127.0.0.1 localhost
        10.77.0.10 vix0 vix0.local
        10.77.0.11 vix1 vix1.local
        10.77.0.14 vc vc.local
        END
        ip link set lo up
        ip link set eth0 down
        ip addr flush dev eth0
        ip link set eth0 address 52:54:00:4d:00:04
        ip link set eth0 mtu 16110
        ip addr add 10.77.0.14/24 dev eth0
        ip link set eth0 up
        "#);
    }

    #[test]
    fn reaching_is_tried_with_the_largest_packets_that_both_take() {
        let fleet = fleet();
        let others = [&fleet.members[1], &fleet.members[2]];
        insta::assert_snapshot!(reach_script(&fleet.members[0], &others, &fleet), @r#"
        ping -c 1 -W 1 -s 64972 vix1 >/dev/null || { echo "no answer to 64972 bytes from vix1"; exit 1; }
        ping -c 1 -W 1 -s 16082 vc >/dev/null || { echo "no answer to 16082 bytes from vc"; exit 1; }
        "#);
    }
}
