//! Members that were cloned from templates.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use sanlab_fleet::Fleet;
use sanlab_record::EventKind;

use crate::fixture::{end, listener, names, says, spec, store};

/// Clones of one template differ in everything that must differ, and agree on the rest.
pub(crate) async fn five() {
    let store = store();
    let spec = spec(&store, "five");
    let all = names(&["vix0", "vix1", "vix2", "vix3", "vc"]);
    let (events, mut heard) = listener();
    let fleet = Fleet::start(spec.clone(), &all, None, events)
        .await
        .unwrap();
    assert_eq!(fleet.templates().len(), 3);
    let mut seen = BTreeSet::new();
    let mut random = BTreeSet::new();
    for node in fleet.nodes() {
        let identity = "hostname; cat /etc/hostname /etc/machine-id; cat /sys/class/net/eth0/address; \
                        ip -4 -o addr show eth0 | sed 's/.*inet //; s/ .*//'; cat /sys/class/net/eth0/mtu; \
                        ip -6 -o addr show eth0 | wc -l";
        let said = says(&node, identity).await;
        let (name, number) = (node.name(), node.number());
        let expected = format!(
            "{name}\n{name}\n73616e6c6162000000005254004d00{number:02x}\n52:54:00:4d:00:{number:02x}\n10.77.0.{}/24\n16000\n0",
            10 + number
        );
        assert_eq!(said, expected);
        seen.insert(said);
        random.insert(
            says(
                &node,
                "dd if=/dev/urandom bs=16 count=1 2>/dev/null | md5sum",
            )
            .await,
        );
        let guest: u64 = says(&node, "date +%s").await.parse().unwrap();
        let host = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(host.as_secs().abs_diff(guest) <= 2, "{guest} and {host:?}");
        let reseeded = says(
            &node,
            "dmesg | grep -c 'reseeded due to virtual machine fork'",
        )
        .await;
        assert_eq!(reseeded, "1");
        let pings = all
            .iter()
            .map(|other| format!("ping -c 1 -W 5 {other}.local >/dev/null\n"));
        says(&node, &pings.collect::<String>()).await;
    }
    assert_eq!((seen.len(), random.len()), (5, 5));
    end(fleet).await;

    let mut made = 0;
    while let Some(event) = heard.recv().await {
        made += i32::from(matches!(event.kind, EventKind::TemplateMade { .. }));
    }
    // Another trial may have been first.
    assert!(made == 3 || made == 0, "{made}");
    let (events, mut heard) = listener();
    let again = Fleet::start(spec, &all, None, events).await.unwrap();
    end(again).await;
    while let Some(event) = heard.recv().await {
        assert!(
            !matches!(
                event.kind,
                EventKind::TemplateStarted { .. } | EventKind::Booting
            ),
            "{event}"
        );
    }
}
