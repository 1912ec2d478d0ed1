//! What makes a booted guest a member: all images are alike, and know neither name nor address.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::NicModel;
use sanlab_vm::EVENT_PORT_PATH;

use crate::spec::{Card, FleetSpec, NodeSpec};

/// The script that brings a card up unless it is, without IPv6: nobody has such an address here, and it would ask everybody
/// questions. A kernel of the user's may have no IPv6 at all.
///
/// Whatever makes Linux look at the card's filters again, such as bringing it up once more or joining a group, makes
/// QEMU's e1000 deaf for a second (its `flush_queue_timer`).
fn card_up(card: &Card<'_>, mtu: u32) -> String {
    let eth = card.interface();
    format!(
        "[ ! -e /proc/sys/net/ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/{eth}/disable_ipv6\n\
         echo {mtu} >/sys/class/net/{eth}/mtu\n\
         read -r flags </sys/class/net/{eth}/flags\n\
         [ $((flags & 1)) = 1 ] || ip link set {eth} up\n"
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
    let name = &me.name;
    let cards: String = fleet
        .cards(me)
        .iter()
        .map(|card| card_script(me, card, fleet))
        .collect();
    let clock = now.map(clock_script).unwrap_or_default();
    format!(
        "echo {name} >/proc/sys/kernel/hostname\n\
         {clock}\
         echo {name} >/etc/hostname\n\
         echo {id} >/etc/machine-id\n\
         echo '{hosts}' >/etc/hosts\n\
         {cards}{ports}",
        ports = ports(),
        id = machine_id(me, fleet),
        hosts = hosts(fleet).trim_end(),
    )
}

/// All members: on the first network by their names, on another by `NODE.NETWORK`.
fn hosts(fleet: &FleetSpec) -> String {
    let mut hosts = "127.0.0.1 localhost\n".to_owned();
    for (place, network) in fleet.networks.iter().enumerate() {
        for member in fleet.members.iter().filter(|it| network.joins(it)) {
            let (address, name) = (network.address(member), &member.name);
            match place {
                0 => line(&mut hosts, format_args!("{address} {name} {name}.local")),
                _ => line(
                    &mut hosts,
                    format_args!("{address} {name}.{}", network.name),
                ),
            }
        }
    }
    hosts
}

/// The part of it that gives a card its addresses.
fn card_script(me: &NodeSpec, card: &Card<'_>, fleet: &FleetSpec) -> String {
    let (network, eth) = (card.network, card.interface());
    let mtu = network.mtu_of(me);
    let mut narrow = String::new();
    for member in fleet.members.iter().filter(|it| network.joins(it)) {
        let (address, other) = (network.address(member), network.mtu_of(member));
        if other < mtu {
            // Only TCP agrees on a size by itself; a larger datagram would be lost without a word.
            line(
                &mut narrow,
                format_args!("ip route replace {address}/32 dev {eth} mtu {other}"),
            );
        }
    }
    format!(
        "ip link set {eth} address {mac}\n\
         ip addr add {address}/{length} dev {eth}\n\
         {card_up}{narrow}",
        card_up = card_up(card, mtu),
        mac = card.mac(me),
        address = network.address(me),
        length = network.subnet.length(),
    )
}

/// The script that does for a template what its clones then need not: its cards are up, and the files of an identity lie in
/// the upper layer of its root.
pub(crate) fn groundwork_script(template: &NodeSpec, fleet: &FleetSpec) -> String {
    let mut script =
        "for file in hostname machine-id hosts; do echo >/etc/$file; done\n".to_owned();
    for card in fleet.cards(template) {
        let mtu = match template.nic {
            // It changes at once.
            NicModel::VirtioNet => 1500,
            // It finds its link up to two seconds after it was brought up, and again after its MTU was changed.
            NicModel::E1000 => card.network.mtu_of(template),
        };
        script += &card_up(&card, mtu);
        line(
            &mut script,
            format_args!(
                "until [ \"$(cat /sys/class/net/{}/carrier)\" = 1 ]; do usleep 20000; done",
                card.interface()
            ),
        );
    }
    script
}

/// The line that sets a guest's clock to that time since 1970, to the nearest second: the guest's RTC, by which it is
/// set at a boot, has no better grain, and busybox takes no finer time.
pub(crate) fn clock_script(now: Duration) -> String {
    let nearest = now + Duration::from_millis(500);
    format!("date -s @{} >/dev/null\n", nearest.as_secs())
}

/// The same in every run, so that what is made from it is: the Ethernet address of the first card.
fn machine_id(me: &NodeSpec, fleet: &FleetSpec) -> String {
    let cards = fleet.cards(me);
    let mac = cards.first().map(|card| hex::encode(card.mac(me).0));
    format!("73616e6c6162{:0>20}", mac.unwrap_or_default())
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use sanlab_plan::{Arch, ByteSize, Hardware, Subnet};
    use sanlab_vm::AcceleratorWish;

    use super::*;
    use crate::spec::NetworkSpec;

    /// Three members that nobody starts.
    pub(crate) fn fleet() -> FleetSpec {
        let member = |number: u8, name: &str, nic| NodeSpec {
            name: name.to_owned(),
            number,
            hardware: Hardware::new(Arch::X86, ByteSize::from_mib(256)),
            nic,
            nice: 0,
            disk_bytes: 1 << 30,
        };
        FleetSpec {
            images: BTreeMap::new(),
            networks: vec![NetworkSpec::main(65_000)],
            accelerator: AcceleratorWish::Auto,
            qemu: None,
            count_instructions: false,
            logs: "logs".into(),
            start_mode: crate::StartMode::Boot,
            shares_cpus: false,
            disks_survive: false,
            saveable: false,
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
        [ ! -e /proc/sys/net/ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6
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
        [ ! -e /proc/sys/net/ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6
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

    /// Two networks, of which the second lacks `vix0`.
    fn two_networks() -> FleetSpec {
        let mut fleet = fleet();
        fleet.networks.push(NetworkSpec {
            name: "cluster".to_owned(),
            subnet: Subnet::of_place(1),
            mtu: 1500,
            without: vec!["vix0".to_owned()],
            capture: vec!["vc".to_owned()],
        });
        fleet
    }

    #[test]
    fn a_second_network_is_another_card_where_it_joins() {
        let (one, two) = (fleet(), two_networks());
        let scripts = [
            script(&two.members[0], &two, None),
            script(&two.members[2], &two, None),
        ];
        let known = script(&one.members[2], &one, None);
        let new: Vec<&str> = scripts[1]
            .lines()
            .filter(|line| !known.contains(line))
            .collect();
        assert!(!scripts[0].contains("eth1"));
        insta::assert_snapshot!(new.join("\n"), @r"
        10.77.1.11 vix1.cluster
        10.77.1.14 vc.cluster' >/etc/hosts
        ip link set eth1 address 52:54:00:4d:01:04
        ip addr add 10.77.1.14/24 dev eth1
        [ ! -e /proc/sys/net/ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/eth1/disable_ipv6
        echo 1500 >/sys/class/net/eth1/mtu
        read -r flags </sys/class/net/eth1/flags
        [ $((flags & 1)) = 1 ] || ip link set eth1 up
        ");
        let groundwork = groundwork_script(&two.members[2], &two);
        assert_eq!(groundwork.matches("carrier").count(), 2, "{groundwork}");
        let files = two.cards(&two.members[2]).into_iter();
        let files: Vec<String> = files
            .map(|card| card.capture_file(&two.members[2]))
            .collect();
        assert_eq!(files, ["vc.pcap", "vc.cluster.pcap"]);
        let error = two.card(&two.members[0], "cluster").unwrap_err();
        assert_eq!(
            error.to_string(),
            "find the card of node vix0 on network cluster: the network does not join it"
        );
    }
}
