//! `sanlab cache`: what the store holds, and how to make it smaller.

use std::time::SystemTime;

use sanlab_image::{Collected, Entry, Store};
use sanlab_plan::ByteSize;
use sanlab_report::table::Table;

use crate::terminal::print;
use crate::terminal::quantity::{age_of, count, short, size};
use crate::{Exit, LabError};

/// Lists everything in the store.
pub(crate) fn list() -> Result<Exit, LabError> {
    let store = Store::open_default()?;
    let limit = Store::limit()?;
    let entries = store.entries()?;
    let text = listing(&entries, SystemTime::now());
    let free = size(store.free_bytes()?);
    print(&format!(
        "{text}limit {}, {free} free on the disk of {}\n",
        size(limit),
        store.root().display()
    ))?;
    Ok(Exit::Success)
}

/// Removes what was not used for longest, until the rest fits; what is in use stays.
pub(crate) fn collect(max_size: Option<ByteSize>) -> Result<Exit, LabError> {
    let store = Store::open_default()?;
    let limit = match max_size {
        Some(size) => size.bytes(),
        None => Store::limit()?,
    };
    let collected = store.collect(limit)?;
    print(&account(&collected, limit, SystemTime::now()))?;
    Ok(Exit::Success)
}

fn table(entries: &[Entry], now: SystemTime) -> String {
    let mut table = Table::new(&[
        "kind",
        "key",
        ">apparent",
        ">on disk",
        ">age",
        ">last use",
        "state",
        "about",
    ]);
    for entry in entries {
        let state = match (entry.held, entry.whole) {
            (true, _) => "in use",
            (false, true) => "idle",
            (false, false) => "unusable",
        };
        table.row([
            entry.kind.to_string(),
            short(&entry.key).to_owned(),
            size(entry.apparent_bytes),
            size(entry.real_bytes),
            age_of(entry.made, now),
            age_of(entry.used, now),
            state.to_owned(),
            entry.about.clone(),
        ]);
    }
    if table.is_empty() {
        return String::new();
    }
    format!("{}\n", table.render(0))
}

fn listing(entries: &[Entry], now: SystemTime) -> String {
    let sum = |bytes: fn(&Entry) -> u64| size(entries.iter().map(bytes).sum());
    format!(
        "{}{}, apparent size {}, on disk {}; ",
        table(entries, now),
        count(entries.len(), "entry"),
        sum(|entry| entry.apparent_bytes),
        sum(|entry| entry.real_bytes)
    )
}

fn account(collected: &Collected, limit: u64, now: SystemTime) -> String {
    let removed = &collected.removed;
    let freed = removed.iter().map(|entry| entry.real_bytes).sum();
    let excess = if collected.real_bytes > limit {
        format!("; more than {}, for what is in use stays", size(limit))
    } else {
        String::new()
    };
    format!(
        "{}removed {} of {}; {} left, {} of it in use{excess}\n",
        table(removed, now),
        count(removed.len(), "entry"),
        size(freed),
        size(collected.real_bytes),
        size(collected.held_bytes)
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use sanlab_image::{Collected, Entry, Kind};

    use super::{account, listing};

    fn entries(now: SystemTime) -> Vec<Entry> {
        let ago = |minutes: u64| now - Duration::from_secs(minutes * 60);
        vec![
            Entry {
                kind: Kind::Image,
                key: "ab".repeat(32),
                about: "6.1.0-37-686-pae".to_owned(),
                apparent_bytes: 700 << 20,
                real_bytes: 650 << 20,
                made: ago(3 * 24 * 60),
                used: ago(1),
                held: true,
                whole: true,
            },
            Entry {
                kind: Kind::Template,
                key: "cd".repeat(32),
                about: "x86".to_owned(),
                apparent_bytes: 256 << 20,
                real_bytes: 90 << 20,
                made: ago(200),
                used: ago(100),
                held: false,
                whole: true,
            },
            Entry {
                kind: Kind::Checkpoint,
                key: "ef".repeat(32),
                about: "mount: layers".to_owned(),
                apparent_bytes: 5 << 30,
                real_bytes: 480 << 20,
                made: ago(20),
                used: ago(20),
                held: false,
                whole: false,
            },
        ]
    }

    #[test]
    fn a_listing_says_what_each_entry_costs() {
        let now = SystemTime::now();
        insta::assert_snapshot!(listing(&entries(now), now));
        assert_eq!(
            listing(&[], now),
            "0 entries, apparent size 0 B, on disk 0 B; "
        );
    }

    #[test]
    fn a_collection_says_what_it_could_not_remove() {
        let now = SystemTime::now();
        let collected = Collected {
            removed: entries(now).split_off(1),
            held_bytes: 650 << 20,
            real_bytes: 650 << 20,
        };
        insta::assert_snapshot!(account(&collected, 10 << 20, now));
    }
}
