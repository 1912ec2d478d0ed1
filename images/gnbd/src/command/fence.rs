//! `fence_gnbd`: cuts a node off from the storage by banning it at GNBD servers.
//!
//! As a fence agent of today it reads `key=value` lines from standard input when it has no arguments: `action` (`off`,
//! `on`, `reboot`, `status`, `monitor`, `list`, `metadata`, `validate-all`), `plug`, `port`, `nodename` or `ipaddr` (the
//! node), `servers` (separated by blanks or commas), `ipport`, `option=multipath`, `retrys`, `wait_time`. With
//! arguments: `-s NODE -t SERVER... [-m] [-p PORT]`, or `-o ACTION`.
//!
//! A node is fenced when *every* server has confirmed it: until then it may still write. With `multipath`, a server that
//! does not answer is asked again, and then fenced itself, through the membership hook; historic documentation and
//! code differed about servers that cannot be reached at all, and the safe reading is that they count.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::thread::park_timeout;
use std::time::Duration;

use super::{Console, ExitStatus, strerror, strerror_of};
use crate::client::{RequestError, Server};
use crate::membership::Membership;
use crate::protocol::{NodeName, PORT};

const OPTIONS: &str = "hM:mo:p:qs:t:Vv";

const USAGE: &str = "\
Usage:

fence_gnbd [options]

Options:

  -h               print this help, then exit
  -M <program>     program that knows the cluster, for -m
  -m               multipath: servers that do not answer are fenced
  -o <action>      off (default), on, reboot, status, monitor, list, metadata
  -p <port>        port of the servers
  -q               quiet: print errors only
  -s <node>        the node to be fenced
  -t <server>...   GNBD servers
  -V               print the version, then exit
  -v               print more

Without options they are read from standard input, as key=value lines.
";

const METADATA: &str = r#"<?xml version="1.0" ?>
<resource-agent name="fence_gnbd" shortdesc="Fence agent for GNBD">
<longdesc>fence_gnbd bans a node at GNBD servers: they end its connections, write out what they still hold of its writes, and refuse it from then on. It fences storage, not power.</longdesc>
<parameters>
	<parameter name="action" unique="0" required="1"><getopt mixed="-o [action]" /><content type="string" default="off" /><shortdesc lang="en">Fencing action</shortdesc></parameter>
	<parameter name="plug" unique="0" required="1"><getopt mixed="-s [node]" /><content type="string" /><shortdesc lang="en">Node to be fenced, by the name that it has at the servers</shortdesc></parameter>
	<parameter name="servers" unique="0" required="1"><getopt mixed="-t [server]" /><content type="string" /><shortdesc lang="en">GNBD servers, separated by blanks or commas</shortdesc></parameter>
	<parameter name="ipport" unique="0" required="0"><getopt mixed="-p [port]" /><content type="integer" default="14567" /><shortdesc lang="en">TCP port of the servers</shortdesc></parameter>
	<parameter name="option" unique="0" required="0"><getopt mixed="-m" /><content type="string" /><shortdesc lang="en">multipath: servers that do not answer are fenced</shortdesc></parameter>
	<parameter name="retrys" unique="0" required="0"><content type="integer" default="3" /><shortdesc lang="en">With multipath: how often a server is asked again</shortdesc></parameter>
	<parameter name="wait_time" unique="0" required="0"><content type="second" default="2" /><shortdesc lang="en">With multipath: seconds between</shortdesc></parameter>
</parameters>
<actions>
	<action name="on" automatic="0" />
	<action name="off" />
	<action name="reboot" />
	<action name="status" />
	<action name="monitor" />
	<action name="list" />
	<action name="metadata" />
	<action name="validate-all" />
</actions>
</resource-agent>
"#;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Order {
    action: String,
    node: Option<String>,
    servers: Vec<String>,
    port: u16,
    multipath: bool,
    retries: u32,
    wait: Duration,
    membership: Membership,
}

impl Order {
    fn new() -> Self {
        Self {
            action: "off".to_owned(),
            node: None,
            servers: Vec::new(),
            port: PORT,
            multipath: false,
            retries: 3,
            wait: Duration::from_secs(2),
            membership: Membership::choose(false, None),
        }
    }

    /// Takes one `key=value`. Keys of other agents are ignored, as fence daemons send them to all.
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let wrong = |_| format!("invalid value '{value}' of {key}");
        match key {
            "action" => value.clone_into(&mut self.action),
            // From the least to the most particular, whatever their order: see `read`.
            "ipaddr" | "nodename" | "port" | "plug" => self.node = Some(value.to_owned()),
            "servers" | "server" => {
                let words = value.split(|c: char| c == ',' || c.is_whitespace());
                let words = words.filter(|word| !word.is_empty());
                self.servers.extend(words.map(str::to_owned));
            }
            "ipport" => self.port = value.parse().map_err(wrong)?,
            "option" => self.multipath |= value == "multipath",
            "retrys" => self.retries = value.parse().map_err(wrong)?,
            "wait_time" => self.wait = Duration::from_secs(value.parse().map_err(wrong)?),
            "membership" => self.membership = Membership::choose(false, Some(value)),
            _ => {}
        }
        Ok(())
    }

    /// Reads standard input's lines. Blank ones and those with `#` say nothing.
    fn read(text: &str) -> Result<Self, String> {
        let mut order = Self::new();
        let pairs: Vec<(&str, &str)> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        let rank = |key: &str| {
            ["ipaddr", "nodename", "port", "plug"]
                .iter()
                .position(|name| *name == key)
        };
        let mut ranked = pairs;
        ranked.sort_by_key(|(key, _)| rank(key));
        for (key, value) in ranked {
            order.set(key, value)?;
        }
        Ok(order)
    }
}

/// Runs the program.
pub fn run(arguments: Vec<OsString>, console: &mut Console<'_>) -> ExitStatus {
    let mut input = io::stdin().lock().take(1 << 16);
    run_with(arguments, &mut input, console)
}

/// Runs the program with this for its standard input.
pub fn run_with(
    arguments: Vec<OsString>,
    input: &mut dyn io::Read,
    console: &mut Console<'_>,
) -> ExitStatus {
    let order = if arguments.is_empty() {
        let mut text = String::new();
        match input.read_to_string(&mut text) {
            Ok(_) => Order::read(&text),
            Err(error) => Err(format!("cannot read options : {}", strerror(&error))),
        }
    } else {
        let line = match console.command_line(OPTIONS, USAGE, arguments) {
            Ok(line) => line,
            Err(status) => return status,
        };
        let mut order = Order::new();
        order.multipath = line.has('m');
        let keys = [
            ('o', "action"),
            ('s', "plug"),
            ('p', "ipport"),
            ('M', "membership"),
        ];
        let mut result = keys.iter().try_for_each(|(letter, key)| {
            line.value(*letter)
                .map_or(Ok(()), |value| order.set(key, value))
        });
        for (letter, value) in &line.options {
            if let ('t', Some(value)) = (letter, value) {
                result = result.and_then(|()| order.set("servers", value));
            }
        }
        // `-t a b c`
        order.servers.extend(line.operands);
        result.map(|()| order)
    };
    match order {
        Ok(order) => carry_out(&order, console),
        Err(text) => console.error(&text),
    }
}

fn carry_out(order: &Order, console: &mut Console<'_>) -> ExitStatus {
    if order.action == "metadata" {
        console.print(METADATA);
        return 0;
    }
    if order.servers.is_empty() {
        return console.error("no servers given");
    }
    let servers: Vec<Server> = order
        .servers
        .iter()
        .map(|server| Server::new(server, order.port))
        .collect();
    match order.action.as_str() {
        "validate-all" => return 0,
        "monitor" => return monitor(&servers, console),
        "list" => return list(&servers, console),
        _ => {}
    }
    let Some(node) = &order.node else {
        return console.error("no node given");
    };
    let node = match NodeName::new(node) {
        Ok(node) => node,
        Err(error) => return console.error(&format!("invalid node name : failed to {error}")),
    };
    match order.action.as_str() {
        "off" | "reboot" => {
            let statuses = servers
                .iter()
                .map(|server| ban(order, server, &node, console));
            statuses.max().unwrap_or(1)
        }
        "on" => {
            let statuses = servers.iter().map(|server| match server.unfence(&node) {
                Ok(()) => {
                    console.detail(&format!("{node} unfenced"));
                    0
                }
                Err(error) => complain("unfence", server, &error, console),
            });
            statuses.max().unwrap_or(1)
        }
        "status" => status(&servers, &node, console),
        action => console.error(&format!("unknown action '{action}'")),
    }
}

/// Bans a node at one server, or with multipath sees that the server itself is no danger any more.
fn ban(order: &Order, server: &Server, node: &NodeName, console: &mut Console<'_>) -> ExitStatus {
    let tries = if order.multipath {
        order.retries + 1
    } else {
        1
    };
    let mut last = 1;
    for attempt in 0..tries {
        if attempt > 0 {
            park_timeout(order.wait);
        }
        match server.fence(node) {
            Ok(()) => {
                console.detail(&format!("{node} fenced"));
                return 0;
            }
            Err(error) => last = complain("fence", server, &error, console),
        }
    }
    if !order.multipath {
        return last;
    }
    // The cluster knows it by its name there, which it cannot be asked for now.
    let fenced = NodeName::new(&server.host)
        .map_err(crate::Error::from)
        .and_then(|name| order.membership.fence(&name));
    match fenced {
        Ok(()) => {
            console.say(&format!("server {} fenced", server.host));
            0
        }
        Err(error) => {
            console.error(&format!(
                "cannot fence server {} : failed to {error}",
                server.host
            ));
            last
        }
    }
}

/// Status 1 if the server cannot be reached, 2 if it did not do it.
fn complain(
    action: &str,
    server: &Server,
    error: &RequestError,
    console: &mut Console<'_>,
) -> ExitStatus {
    let why = match error {
        RequestError::Connect { code, source } => {
            return console.error(&format!(
                "cannot connect to server {} ({code}) : {}",
                server.host,
                strerror(source)
            ));
        }
        RequestError::Refused(errno) => strerror_of(*errno),
        RequestError::Transfer(error) => strerror(error),
        error => format!("failed to {error}"),
    };
    console.error(&format!("{action} failed : {why}"));
    2
}

/// As fence agents do: 0 for on, 2 for off. Off is a node that is banned at every server.
fn status(servers: &[Server], node: &NodeName, console: &mut Console<'_>) -> ExitStatus {
    let mut off = true;
    for server in servers {
        match server.banned() {
            Ok(nodes) => off &= nodes.contains(node),
            Err(error) => {
                complain("status", server, &error, console);
                return 1;
            }
        }
    }
    console.print(if off { "Status: OFF\n" } else { "Status: ON\n" });
    if off { 2 } else { 0 }
}

/// Whether every server would answer.
fn monitor(servers: &[Server], console: &mut Console<'_>) -> ExitStatus {
    let statuses = servers.iter().map(|server| match server.banned() {
        Ok(_) => 0,
        Err(error) => complain("monitor", server, &error, console).min(1),
    });
    statuses.max().unwrap_or(1)
}

/// Banned nodes, a line each: the servers know of no others.
fn list(servers: &[Server], console: &mut Console<'_>) -> ExitStatus {
    let mut all = Vec::new();
    for server in servers {
        match server.banned() {
            Ok(nodes) => all.extend(nodes),
            Err(error) => return complain("list", server, &error, console).min(1),
        }
    }
    all.sort();
    all.dedup();
    for node in all {
        console.print(&format!("{node},\n"));
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_from_lines() {
        let order = Order::read("# comment\n\naction=reboot\nplug = client0 \nport=x\nipaddr=y\nservers=a, b c\nnodeid=7\noption=multipath\nretrys=1\nwait_time=0\n").unwrap();
        assert_eq!(
            (order.action.as_str(), order.node.as_deref()),
            ("reboot", Some("client0"))
        );
        assert_eq!(order.servers, ["a", "b", "c"]);
        assert!(order.multipath && order.retries == 1 && order.wait.is_zero());
        assert_eq!(
            Order::read("retrys=many").unwrap_err(),
            "invalid value 'many' of retrys"
        );
    }
}
