//! Servers that fall silent or die, and relays that are killed.

use std::time::Instant;

use libtest_mimic::Failed;
use sanlab_fleet::How;

use crate::ground::{CLIENT, Ground, Guests, SERVERS};

const READ: &str = "/bin/dd if=/dev/gnbd/storage0a of=/dev/null bs=4096 count=1 iflag=direct 2>&1";

/// A read of the first server's device that fails; how long it took, by the guest's clock.
async fn failing_read(guests: &Guests) -> Result<f64, Failed> {
    let script = format!(
        "read -r begin _ </proc/uptime\n\
         if said=$({READ}); then echo 'nothing failed' >&2; exit 1; fi\n\
         echo \"$said\" | grep -q 'Input/output error' || {{ echo \"$said\" >&2; exit 1; }}\n\
         read -r end _ </proc/uptime\n\
         echo $begin $end | awk '{{ print $2 - $1 }}'\n"
    );
    guests.number(CLIENT, &script).await
}

fn expect(what: &str, is: bool, seen: f64) -> Result<(), Failed> {
    if is {
        return Ok(());
    }
    Err(format!("{what}: {seen:.2} s").into())
}

/// Fail-fast: EIO when the time is over, and the device comes back by itself.
pub(crate) async fn of_patience(ground: &Ground) -> Result<(), Failed> {
    let guests = ground.guests(1, 192).await?;
    let server = SERVERS[0];
    guests.serve(server, "").await?;
    guests
        .run(CLIENT, &format!("gnbd_import -n -F4 -i {server}"))
        .await?;
    guests.run(CLIENT, READ).await?;
    // Alive, and silent.
    let stop = "read -r pid </run/gnbd/gnbd_serv.pid; kill -STOP $pid";
    guests.run(server, stop).await?;
    let took = failing_read(&guests).await?;
    expect("EIO after 4 s", (3.9..7.0).contains(&took), took)?;
    let took = failing_read(&guests).await?;
    expect("then at once", took < 3.0, took)?;
    guests
        .run(
            server,
            "read -r pid </run/gnbd/gnbd_serv.pid; kill -CONT $pid",
        )
        .await?;
    guests.until(CLIENT, "the device is back", READ).await?;
    // Dead.
    guests
        .run(
            server,
            "read -r pid </run/gnbd/gnbd_serv.pid; kill -KILL $pid",
        )
        .await?;
    let took = failing_read(&guests).await?;
    expect("EIO after 4 s", (3.9..7.0).contains(&took), took)?;
    guests.serve(server, "").await?;
    guests.until(CLIENT, "the device is back", READ).await?;
    guests.end().await
}

/// A server's process that dies: with `-D` a path fails at once, and is back soon after the process is.
pub(crate) async fn of_a_process(ground: &Ground) -> Result<(), Failed> {
    let guests = ground.guests(1, 192).await?;
    let server = SERVERS[0];
    guests.serve(server, "-t 60").await?;
    guests
        .run(CLIENT, &format!("gnbd_import -D -i {server}"))
        .await?;
    guests.run(CLIENT, READ).await?;
    let kill = "read -r pid </run/gnbd/gnbd_serv.pid; kill -KILL $pid";
    guests.run(server, kill).await?;
    let took = failing_read(&guests).await?;
    let log = guests.run(CLIENT, "cat /run/gnbd/gnbd_recvd-0.log").await?;
    // Without `-D` it would take a minute; idle hosts see 0.1 s.
    expect(&format!("EIO at once\n{log}"), took < 3.0, took)?;
    guests.serve(server, "-t 60").await?;
    let begin = Instant::now();
    guests.until(CLIENT, "the device is back", READ).await?;
    let took = begin.elapsed().as_secs_f64();
    expect("back within 6 s", took < 6.0, took)?;
    guests.end().await
}

/// A server that loses its power: nothing fails until the fence agent says so, whoever is member of what; and when the
/// server is back, the device is.
pub(crate) async fn of_a_server(ground: &Ground) -> Result<(), Failed> {
    let guests = ground.guests(2, 192).await?;
    let [lost, well] = SERVERS;
    for server in SERVERS {
        guests.serve(server, "-t 4").await?;
        guests
            .run(CLIENT, &format!("gnbd_import -i {server}"))
            .await?;
    }
    guests.run(CLIENT, READ).await?;
    guests.fleet.crash(lost, How::Power).await?;
    // The agent refuses: the read waits, however often it is asked.
    let wait = format!(
        "(if {READ}; then echo good; else echo bad; fi >/run/read) >/dev/null 2>&1 </dev/null &\n\
         until [ \"$(grep -c '^{lost}$' /run/asked 2>/dev/null)\" = 2 ]; do sleep 0.2; done\n\
         [ ! -s /run/read ]\n\
         ! grep -q {well} /run/asked\n"
    );
    guests.run(CLIENT, &wait).await?;
    guests.run(CLIENT, "touch /run/power-off").await?;
    guests
        .until(CLIENT, "the read has failed", "grep -q '^bad$' /run/read")
        .await?;
    guests.fleet.restart(lost).await?;
    guests.serve(lost, "-t 4").await?;
    let begin = Instant::now();
    guests.until(CLIENT, "the device is back", READ).await?;
    let took = begin.elapsed().as_secs_f64();
    expect("back within 6 s", took < 6.0, took)?;
    // And what was fenced once is asked for again when it is lost again.
    guests.run(CLIENT, "rm /run/asked").await?;
    guests.fleet.crash(lost, How::Power).await?;
    let took = failing_read(&guests).await?;
    expect(
        "EIO after 4 s and fencing",
        (3.9..8.0).contains(&took),
        took,
    )?;
    guests
        .run(CLIENT, &format!("grep -q {lost} /run/asked"))
        .await?;
    // The other one was never in question.
    let other = READ.replace(lost, well);
    guests.run(CLIENT, &other).await?;
    guests.end().await
}

/// A relay that is killed under load is replaced, and every write arrives.
pub(crate) async fn of_a_relay(ground: &Ground) -> Result<(), Failed> {
    let guests = ground.guests(1, 192).await?;
    let server = SERVERS[0];
    guests.serve(server, "-c").await?;
    guests
        .run(CLIENT, &format!("gnbd_import -n -i {server}"))
        .await?;
    let script = format!(
        "gnbd_load -d /dev/gnbd/{server} -s 2 >/run/load 2>&1 &\n\
         sleep 0.7\n\
         read -r relay </run/gnbd/gnbd_recvd-0.pid\n\
         read -r begin _ </proc/uptime\n\
         kill -KILL $relay\n\
         until read -r next </run/gnbd/gnbd_recvd-0.pid && [ \"$next\" != $relay ]; do sleep 0.05; done\n\
         read=$({READ})\n\
         wait\n\
         read -r end _ </proc/uptime\n\
         grep -q ' reads in ' /run/load\n\
         gnbd_import -n -l | grep -q 'State : Close Connected Clear'\n\
         echo $begin $end | awk '{{ print $2 - $1 }}'\n"
    );
    // What the dead relay had comes when the kernel looks after it.
    let took = guests.number(CLIENT, &script).await?;
    expect("whole again within the kernel's 10 s", took < 13.0, took)?;
    // Removed, it stays so: nobody replaces it.
    let removed = format!(
        "read -r relay </run/gnbd/gnbd_recvd-0.pid\n\
         supervisor=$(awk '/^PPid:/ {{ print $2 }}' /proc/$relay/status)\n\
         gnbd_import -n -r {server}\n\
         for wait in 1 2 3 4 5 6 7 8 9 10; do [ ! -e /proc/$supervisor ] || sleep 0.2; done\n\
         [ ! -e /proc/$relay ]\n\
         [ ! -e /proc/$supervisor ]\n"
    );
    guests.run(CLIENT, &removed).await?;
    guests.end().await
}
