//! A client that has hardly any memory left writes out through its relay to get some.

use libtest_mimic::Failed;

use crate::ground::{CLIENT, Ground, SERVERS};

/// MiB that a tmpfs leaves of what is available.
const LEFT: u32 = 24;
/// MiB that are written through the page cache: more than there is room for.
const WRITTEN: u32 = 160;

pub(crate) async fn is_short(ground: &Ground) -> Result<(), Failed> {
    let guests = ground.guests(1, 160).await?;
    let server = SERVERS[0];
    guests.serve(server, "-c").await?;
    let script = format!(
        "gnbd_import -n -i {server} >&2\n\
         read -r relay </run/gnbd/gnbd_recvd-0.pid\n\
         mkfs.ext4 -q /dev/gnbd/{server}\n\
         mkdir -p /mnt/gnbd /mnt/ram\n\
         mount -t ext4 /dev/gnbd/{server} /mnt/gnbd\n\
         mount -t tmpfs -o size=100% tmpfs /mnt/ram\n\
         taken=$(awk '/^MemAvailable:/ {{ print int($2 / 1024) - {LEFT} }}' /proc/meminfo)\n\
         /bin/dd if=/dev/zero of=/mnt/ram/taken bs=1M count=$taken 2>/dev/null\n\
         grep -e MemFree -e MemAvailable /proc/meminfo >&2\n\
         /bin/dd if=/dev/zero of=/mnt/gnbd/file bs=1M count={WRITTEN} 2>&1 >/dev/null | tail -n 1 >&2\n\
         sync\n\
         umount /mnt/gnbd\n\
         mount -t ext4 /dev/gnbd/{server} /mnt/gnbd\n\
         [ \"$(stat -c %s /mnt/gnbd/file)\" = $(({WRITTEN} << 20)) ]\n\
         cmp -n $(({WRITTEN} << 20)) /mnt/gnbd/file /dev/zero\n\
         umount /mnt/gnbd\n\
         read -r now </run/gnbd/gnbd_recvd-0.pid\n\
         [ \"$now\" = \"$relay\" ] || {{ echo 'the relay is another' >&2; exit 1; }}\n\
         awk '/^Pss:/ {{ print $2 / 1024 }}' /proc/$relay/smaps_rollup\n"
    );
    let relay_mib = guests.number(CLIENT, &script).await?;
    if relay_mib > 16.0 {
        return Err(format!("the relay has {relay_mib} MiB").into());
    }
    let killed = guests.run(
        CLIENT,
        "dmesg | grep -ci -e 'out of memory' -e 'hung task' || true",
    );
    let killed = killed.await?;
    if killed.trim() != "0" {
        return Err(format!(
            "{} lines of the kernel's log tell of trouble",
            killed.trim()
        )
        .into());
    }
    guests.end().await
}
