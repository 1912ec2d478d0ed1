//! What comes and goes leaves nothing: no descriptor, no thread, no memory.

use libtest_mimic::Failed;

use crate::ground::{CLIENT, Ground, Guests, SERVERS};

/// What a process has.
#[derive(Debug, Clone, Copy)]
struct Holdings {
    descriptors: f64,
    threads: f64,
    /// KiB of its own.
    memory: f64,
}

impl Holdings {
    /// By its pid file.
    async fn of(guests: &Guests, node: &str, pid_file: &str) -> Result<Self, Failed> {
        let number = async |script: &str| {
            let script = format!("read -r pid </run/gnbd/{pid_file}\n{script}");
            guests.number(node, &script).await
        };
        Ok(Self {
            descriptors: number("ls /proc/$pid/fd | wc -l").await?,
            threads: number("ls /proc/$pid/task | wc -l").await?,
            memory: number(
                "awk '/^Private/ { sum += $2 } END { print sum }' /proc/$pid/smaps_rollup",
            )
            .await?,
        })
    }

    /// A buffer lost in every tenth cycle of a thousand would be 12 MiB.
    fn expect_no_more_than(self, before: Self) -> Result<(), Failed> {
        let same = self.descriptors <= before.descriptors && self.threads <= before.threads;
        if same && self.memory <= before.memory + 2048.0 {
            return Ok(());
        }
        Err(format!("{before:?} has become {self:?}").into())
    }
}

/// Logins and goodbyes, some without a word.
pub(crate) async fn of_the_server(ground: &Ground) -> Result<(), Failed> {
    let guests = ground.guests(1, 192).await?;
    let server = SERVERS[0];
    guests.serve(server, "-c").await?;
    let load = |count: u32| format!("gnbd_load -i {server} -e {server} -c {count}");
    guests.run(CLIENT, &load(200)).await?;
    let gone = "[ \"$(gnbd_export -L)\" = 'no server processes' ]";
    guests.until(server, "no connections", gone).await?;
    let before = Holdings::of(&guests, server, "gnbd_serv.pid").await?;
    let said = guests.run(CLIENT, &load(10_000)).await?;
    if !said.starts_with("10000 logins in ") {
        return Err(format!("gnbd_load said {said:?}").into());
    }
    guests.until(server, "no connections", gone).await?;
    let after = Holdings::of(&guests, server, "gnbd_serv.pid").await?;
    after.expect_no_more_than(before)?;
    guests.end().await
}

/// The server ends the relay's connection, and the device is read, again and again.
pub(crate) async fn of_the_relay(ground: &Ground) -> Result<(), Failed> {
    let guests = ground.guests(1, 192).await?;
    let server = SERVERS[0];
    guests.serve(server, "-c").await?;
    guests
        .run(CLIENT, &format!("gnbd_import -n -i {server}"))
        .await?;
    let load = |count: u32| {
        format!("gnbd_load -i {server} -e {server} -c {count} -K {CLIENT} -d /dev/gnbd/{server}")
    };
    guests.run(CLIENT, &load(50)).await?;
    let before = Holdings::of(&guests, CLIENT, "gnbd_recvd-0.pid").await?;
    let said = guests.run(CLIENT, &load(1000)).await?;
    if !said.starts_with("1000 reconnections in ") {
        return Err(format!("gnbd_load said {said:?}").into());
    }
    let after = Holdings::of(&guests, CLIENT, "gnbd_recvd-0.pid").await?;
    after.expect_no_more_than(before)?;
    guests.end().await
}
