//! What makes a booted guest a member: all images are alike, and know neither name nor address.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::NicModel;
use sanlab_vm::EVENT_PORT_PATH;

use crate::spec::{FleetSpec, NodeSpec};

/// The script that brings `eth0` up unless it is, without IPv6: nobody has such an address here, and it would ask everybody
/// questions.
///
/// Whatever makes Linux look at the card's filters again, such as bringing it up once more or joining a group, makes
/// QEMU's e1000 deaf for a second (its `flush_queue_timer`).
fn card_up(mtu: u32) -> String {
    format!(
        "echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6\n\
         echo {mtu} >/sys/class/net/eth0/mtu\n\
         read -r flags </sys/class/net/eth0/flags\n\
         [ $((flags & 1)) = 1 ] || ip link set eth0 up\n"
    )
}

/// The script that sees that programs find the event port: the guest's own start waits for the agent's name only.
fn ports() -> String {
    format!(
        "until [ -e {EVENT_PORT_PATH} ]; do\n\
         for port in /sys/class/virtio-ports/*; do\n\
         read -r name <$port/name && ln -sf ../${{port##*/}} /dev/virtio-ports/$name || :\n\
         done\n\
         done\n"
    )
}

/// The script for busybox's shell that makes a guest the member `me`, at that time since 1970.
///
/// Under TCG every process costs a hundredth of a second: what the shell can do by itself, it does.
pub(crate) fn script(me: &NodeSpec, fleet: &FleetSpec, now: Option<Duration>) -> String {
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
    let clock = now.map(clock_script).unwrap_or_default();
    format!(
        "echo {name} >/proc/sys/kernel/hostname\n\
         {clock}\
         echo {name} >/etc/hostname\n\
         echo {id} >/etc/machine-id\n\
         echo '{hosts}' >/etc/hosts\n\
         ip link set eth0 address {mac}\n\
         ip addr add {address}/24 dev eth0\n\
         {card_up}{narrow}{ports}",
        ports = ports(),
        card_up = card_up(mtu),
        id = machine_id(me),
        hosts = hosts.trim_end(),
        mac = me.mac(),
        address = me.address(),
    )
}

/// The script that does for a template what its clones then need not: its card is up, and the files of an identity lie in
/// the upper layer of its root.
pub(crate) fn groundwork_script(template: &NodeSpec, fleet: &FleetSpec) -> String {
    let mtu = match template.nic {
        // It changes at once.
        NicModel::VirtioNet => 1500,
        // It finds its link up to two seconds after it was brought up, and again after its MTU was changed.
        NicModel::E1000 => template.mtu(fleet.mtu),
    };
    format!(
        "for file in hostname machine-id hosts; do echo >/etc/$file; done\n\
         {}\
         until [ \"$(cat /sys/class/net/eth0/carrier)\" = 1 ]; do usleep 20000; done\n",
        card_up(mtu)
    )
}

/// The line that sets a guest's clock to that time since 1970, to the nearest second: the guest's RTC, by which it is
/// set at a boot, has no better grain, and busybox takes no finer time.
pub(crate) fn clock_script(now: Duration) -> String {
    let nearest = now + Duration::from_millis(500);
    format!("date -s @{} >/dev/null\n", nearest.as_secs())
}

/// The same in every run, so that what is made from it is.
fn machine_id(me: &NodeSpec) -> String {
    let mac = hex::encode(me.mac().0);
    format!("73616e6c6162{mac:0>20}")
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
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use sanlab_plan::{Arch, ByteSize, Hardware};
    use sanlab_vm::AcceleratorWish;

    use super::*;

    /// Three members that nobody starts.
    pub(crate) fn fleet() -> FleetSpec {
        let member = |number: u8, name: &str, nic| NodeSpec {
            name: name.to_owned(),
            number,
            hardware: Hardware::new(Arch::X86, ByteSize::from_mib(256)),
            nic,
            disk_bytes: 1 << 30,
        };
        FleetSpec {
            images: BTreeMap::new(),
            mtu: 65_000,
            accelerator: AcceleratorWish::Auto,
            qemu: None,
            count_instructions: false,
            logs: "logs".into(),
            capture: Vec::new(),
            start_mode: crate::StartMode::Boot,
            shares_cpus: false,
            disks_survive: false,
            volatile_caches: Vec::new(),
            shared_disks: Vec::new(),
            warm: String::new(),
            members: vec![
                member(0, "vix0", NicModel::VirtioNet),
                member(1, "vix1", NicModel::VirtioNet),
                member(4, "vc", NicModel::E1000),
            ],
            absent: Vec::new(),
        }
    }

    #[test]
    fn a_paravirtual_card_takes_the_networks_mtu() {
        let fleet = fleet();
        insta::assert_snapshot!(script(&fleet.members[0], &fleet, None), @r#"
        echo vix0 >/proc/sys/kernel/hostname
        echo vix0 >/etc/hostname
        echo 73616e6c6162000000005254004d0000 >/etc/machine-id
        echo '127.0.0.1 localhost
        10.77.0.10 vix0 vix0.local
        10.77.0.11 vix1 vix1.local
        10.77.0.14 vc vc.local' >/etc/hosts
        ip link set eth0 address 52:54:00:4d:00:00
        ip addr add 10.77.0.10/24 dev eth0
        echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6
        echo 65000 >/sys/class/net/eth0/mtu
        read -r flags </sys/class/net/eth0/flags
        [ $((flags & 1)) = 1 ] || ip link set eth0 up
        ip route replace 10.77.0.14/32 dev eth0 mtu 16110
        until [ -e /dev/virtio-ports/org.sanlab.events ]; do
        for port in /sys/class/virtio-ports/*; do
        read -r name <$port/name && ln -sf ../${port##*/} /dev/virtio-ports/$name || :
        done
        done
        "#);
    }

    #[test]
    fn an_emulated_card_takes_what_it_can() {
        let fleet = fleet();
        insta::assert_snapshot!(script(&fleet.members[2], &fleet, Some(Duration::from_millis(1_800_000_000_499))), @r#"
        echo vc >/proc/sys/kernel/hostname
        date -s @1800000000 >/dev/null
        echo vc >/etc/hostname
        echo 73616e6c6162000000005254004d0004 >/etc/machine-id
        echo '127.0.0.1 localhost
        10.77.0.10 vix0 vix0.local
        10.77.0.11 vix1 vix1.local
        10.77.0.14 vc vc.local' >/etc/hosts
        ip link set eth0 address 52:54:00:4d:00:04
        ip addr add 10.77.0.14/24 dev eth0
        echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6
        echo 16110 >/sys/class/net/eth0/mtu
        read -r flags </sys/class/net/eth0/flags
        [ $((flags & 1)) = 1 ] || ip link set eth0 up
        until [ -e /dev/virtio-ports/org.sanlab.events ]; do
        for port in /sys/class/virtio-ports/*; do
        read -r name <$port/name && ln -sf ../${port##*/} /dev/virtio-ports/$name || :
        done
        done
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
