//! The eight requests, answered byte for byte.

use gnbd::protocol::{LoginReply, LoginRequest, Request, Uid};

use crate::wire::{Client, Lab, device, export, node};

fn status(errno: u32) -> Vec<u8> {
    errno.to_be_bytes().to_vec()
}

fn list(data: &[u8]) -> Vec<u8> {
    let count = u32::try_from(data.len()).unwrap();
    [&status(0)[..], &count.to_be_bytes(), data].concat()
}

#[test]
fn names_are_newest_first_without_invalid_ones() {
    let lab = Lab::new();
    assert_eq!(lab.ask(&Request::Names), list(&[]));
    lab.export("old", 4096);
    lab.export("gone", 4096);
    let path = lab.disk("new", 4096);
    let new = gnbd::protocol::local::ExportDescription {
        read_only: true,
        uncached: true,
        timeout: 0x0102,
        ..export("new", &path)
    };
    lab.server.create(new).unwrap();
    lab.server.invalidate(&device("gone")).unwrap();

    let mut records = Vec::new();
    records.extend([2, 1, 0, 0, 1, 0]);
    records.extend(*b"new");
    records.extend([0; 29 + 2]);
    records.extend([0; 6]);
    records.extend(*b"old");
    records.extend([0; 29 + 2]);
    assert_eq!(records.len(), 80);
    assert_eq!(lab.ask(&Request::Names), list(&records));
}

#[test]
fn bans_are_listed_newest_first() {
    let lab = Lab::new();
    assert_eq!(lab.ask(&Request::ListBanned), list(&[]));
    for name in ["client0", "client1", "client0"] {
        assert_eq!(lab.ask(&Request::Fence(node(name))), status(0));
    }
    let names = [node("client1").encode(), node("client0").encode()].concat();
    assert_eq!(lab.ask(&Request::ListBanned), list(&names));
    assert_eq!(lab.ask(&Request::Unfence(node("client1"))), status(0));
    assert_eq!(lab.ask(&Request::Unfence(node("nobody"))), status(0));
    assert_eq!(
        lab.ask(&Request::ListBanned),
        list(&node("client0").encode())
    );
}

#[test]
fn without_a_cluster_nobody_is_fenced_and_nothing_is_uncached() {
    let lab = Lab::with(|options| options.cluster = false);
    assert_eq!(lab.ask(&Request::Fence(node("client0"))), status(95));
    assert_eq!(lab.ask(&Request::ListBanned), list(&[]));
    let path = lab.disk("disk", 4096);
    let mut uncached = export("disk", &path);
    uncached.uncached = true;
    let error = lab.server.create(uncached).unwrap_err();
    assert_eq!(error.raw_os_error(), 95);
}

#[test]
fn the_server_tells_its_name_and_uids() {
    let lab = Lab::new();
    assert_eq!(lab.ask(&Request::NodeName), list(b"storage0a\0"));
    lab.export("plain", 4096);
    let path = lab.disk("known", 4096);
    let mut known = export("known", &path);
    known.uid = Uid::new("GNBD-1-x").unwrap();
    lab.server.create(known).unwrap();
    assert_eq!(lab.ask(&Request::Uid(device("known"))), list(b"GNBD-1-x\0"));
    assert_eq!(lab.ask(&Request::Uid(device("plain"))), list(&[]));
    assert_eq!(lab.ask(&Request::Uid(device("none"))), status(19));
}

#[test]
fn kill_ends_one_nodes_connections_to_one_device() {
    let lab = Lab::new();
    lab.export("a", 4096);
    lab.export("b", 4096);
    let kill = |name: &str, who: &str| {
        lab.ask(&Request::KillServer {
            device: device(name),
            node: node(who),
        })
    };
    assert_eq!(kill("none", "client0"), status(19));
    assert_eq!(kill("a", "client0"), status(0));
    let mut meant = [lab.login("a"), lab.login("a")];
    let mut others = [lab.login("b"), lab.login_as("a", "client1", 1).unwrap()];
    assert_eq!(kill("a", "client0"), status(0));
    assert_eq!(
        lab.server.sessions().len(),
        2,
        "the answer came before the end"
    );
    assert!(meant.iter_mut().all(Client::is_closed));
    for client in &mut others {
        client.ping();
    }
}

#[test]
fn logins_are_refused_in_the_historic_order() {
    let lab = Lab::new();
    let path = lab.export("disk", 8192);
    let refusal = |name: &str, who: &str| lab.login_as(name, who, 1).err();
    let errno = |errno| Some(LoginReply::Refused { errno });

    // A wrong version comes before everything, and is the only one with a version.
    let mut old = LoginRequest::new(device("none"), node("client0"), 1);
    old.version = 1;
    let answer = lab.ask(&Request::Login(old));
    assert_eq!(answer, [0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 22, 0, 0, 0, 0, 0]);

    assert_eq!(refusal("disk", "client0"), None);
    lab.ask(&Request::Fence(node("client0")));
    assert_eq!(refusal("none", "client0"), errno(1));
    assert_eq!(refusal("none", "client1"), errno(19));

    // The size has changed since the export.
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(4096).unwrap();
    assert_eq!(refusal("disk", "client1"), errno(5));
    fs_err::remove_file(&path).unwrap();
    assert_eq!(refusal("disk", "client1"), errno(2));
    lab.server.invalidate(&device("disk")).unwrap();
    assert_eq!(refusal("disk", "client1"), errno(19));
}

#[test]
fn exports_are_checked() {
    let lab = Lab::new();
    let path = lab.disk("disk", 1000);
    let errno = |name: &str, path: &std::path::Path| {
        let error = lab.server.create(export(name, path)).unwrap_err();
        error.raw_os_error()
    };
    lab.server.create(export("disk", &path)).unwrap();
    assert_eq!(lab.server.exports()[0].sectors, 1);
    assert_eq!(errno("disk", &path), 16);
    assert_eq!(errno("other", &lab.folder.path().join("none")), 2);
    assert_eq!(errno("other", lab.folder.path()), 21);
    assert_eq!(errno("other", std::path::Path::new("/dev/null")), 22);
    assert_eq!(errno("other", &lab.disk("small", 511)), 28);

    let client = lab.login("disk");
    assert_eq!(
        lab.server
            .remove(&device("disk"))
            .unwrap_err()
            .raw_os_error(),
        16
    );
    assert_eq!(
        lab.server
            .remove(&device("none"))
            .unwrap_err()
            .raw_os_error(),
        19
    );
    drop(client);
    crate::wire::until(|| lab.server.remove(&device("disk")).is_ok());
    assert!(lab.server.exports().is_empty());
}
