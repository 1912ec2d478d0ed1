//! Trees of files: what a node lists, and how lists differ.

use std::collections::BTreeMap;

use sanlab_plan::guest::{FIND, MD5SUM, STAT, XARGS};

/// What a node sees at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// `f`, `d`, `l` and so on, as `find` names them.
    pub(crate) kind: char,
    /// Bytes; 0 for whatever is not a file, where the figure tells nothing.
    pub(crate) size: u64,
    /// Of a file the MD5 in hex, of a link its target.
    pub(crate) content: Option<String>,
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.kind, &self.content) {
            ('f', Some(md5)) => write!(f, "{} bytes, md5 {md5}", self.size),
            ('f', None) => write!(f, "{} bytes, not read", self.size),
            ('d', _) => f.write_str("a folder"),
            ('l', Some(target)) => write!(f, "a link to {target}"),
            (kind, _) => write!(f, "a special file of type {kind}"),
        }
    }
}

/// Paths relative to the tree's root, sorted.
pub(crate) type Tree = BTreeMap<String, Entry>;

/// The script whose output [`parse`] reads: four fields for every entry, an empty one, then the hashes; all end with
/// a zero byte, since names may hold anything else.
///
/// What this node wrote goes to the disks first, and what it remembers of the disks is dropped: the bytes hashed are
/// those that the disks give, not the reader's memory. `lost+found` is listed but not entered.
///
/// Meanwhile the device is read far ahead. Over a network of emulated cards that takes a quarter of the CPU time of
/// Linux' 128 KiB: 64 MiB on an i386 guest cost all guests together 6.9 s, now 1.6 s; hashing them costs
/// 0.6 s.
pub(crate) fn listing(root: &str) -> String {
    let root = sanlab_plan::quote(root);
    format!(
        r"sync
echo 1 >/proc/sys/vm/drop_caches
cd {root}
ahead=/sys/class/bdi/$({STAT} -c %Hd:%Ld .)/read_ahead_kb
if read -r usual <$ahead; then
    trap 'echo $usual >$ahead' EXIT
    echo 8192 >$ahead
fi
{FIND} . -mindepth 1 -printf '%y\0%s\0%l\0%P\0' -path ./lost+found -prune
printf '\0'
set -o pipefail
{FIND} . -mindepth 1 -path ./lost+found -prune -o -type f -print0 | {XARGS} -0 -r {MD5SUM} -z
"
    )
}

/// Reads what [`listing`] printed; the error says what is odd about it.
pub(crate) fn parse(listed: &str) -> Result<Tree, String> {
    let mut fields = listed.split_terminator('\0');
    let mut tree = Tree::new();
    loop {
        let Some(kind) = fields.next() else {
            return Err("the listing ends before the hashes".to_owned());
        };
        let Some(kind) = kind.chars().next() else {
            break;
        };
        let (Some(size), Some(target), Some(path)) = (fields.next(), fields.next(), fields.next())
        else {
            return Err("the listing ends within an entry".to_owned());
        };
        let size = if kind == 'f' {
            size.parse().map_err(|_| format!("`{size}` is no size"))?
        } else {
            0
        };
        let content = (kind == 'l').then(|| target.to_owned());
        tree.insert(
            path.to_owned(),
            Entry {
                kind,
                size,
                content,
            },
        );
    }
    for line in fields {
        let (md5, path) = line
            .split_once("  ./")
            .ok_or_else(|| format!("`{line}` is no hash"))?;
        let entry = tree
            .get_mut(path)
            .ok_or_else(|| format!("{path} was hashed but not listed"))?;
        entry.content = Some(md5.to_owned());
    }
    Ok(tree)
}

/// How what `node` sees differs from what must be there; one line a path.
pub(crate) fn differences(node: &str, seen: &Tree, expected: &Tree, by: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, entry) in expected {
        match seen.get(path) {
            Some(other) if other == entry => {}
            Some(other) => lines.push(format!("{node} sees {path} as {other}; {by}: {entry}")),
            None => lines.push(format!("{node} does not see {path}; {by}: {entry}")),
        }
    }
    lines
}

/// The paths that only `node` sees.
pub(crate) fn surplus(node: &str, seen: &Tree, expected: &Tree, by: &str) -> Vec<String> {
    let only = seen
        .iter()
        .filter(|(path, _)| !expected.contains_key(*path));
    only.map(|(path, entry)| format!("{node} sees {path} as {entry}; {by}: nothing"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: u64, md5: &str) -> Entry {
        Entry {
            kind: 'f',
            size,
            content: Some(md5.to_owned()),
        }
    }

    fn tree(entries: &[(&str, Entry)]) -> Tree {
        entries
            .iter()
            .map(|(path, entry)| ((*path).to_owned(), entry.clone()))
            .collect()
    }

    #[test]
    fn reads_names_of_any_kind() {
        let listed = "d\x003896\0\0lost+found\0f\x005\0\0a\nb  c\0l\x003\0a/b\0link\0\0\
                      aa11  ./a\nb  c\0";
        let expected = tree(&[
            ("a\nb  c", file(5, "aa11")),
            (
                "link",
                Entry {
                    kind: 'l',
                    size: 0,
                    content: Some("a/b".to_owned()),
                },
            ),
            (
                "lost+found",
                Entry {
                    kind: 'd',
                    size: 0,
                    content: None,
                },
            ),
        ]);
        assert_eq!(parse(listed), Ok(expected));
        assert_eq!(parse("\0"), Ok(Tree::new()), "an empty tree");
    }

    #[test]
    fn half_a_listing_is_an_error() {
        for (listed, complaint) in [
            ("", "the listing ends before the hashes"),
            ("f\x005\0", "the listing ends within an entry"),
            ("f\0five\0\0x\0\0", "`five` is no size"),
            ("\0aa11 x\0", "`aa11 x` is no hash"),
            ("\0aa11  ./x\0", "x was hashed but not listed"),
        ] {
            assert_eq!(parse(listed), Err(complaint.to_owned()));
        }
    }

    #[test]
    fn a_difference_names_node_path_expected_and_seen() {
        let vix0 = tree(&[
            ("a", file(3, "aa")),
            ("b", file(4, "bb")),
            ("c", file(5, "cc")),
        ]);
        let vix1 = tree(&[
            ("a", file(3, "aa")),
            ("b", file(4, "b0")),
            ("d", file(1, "dd")),
        ]);
        let mut lines = differences("vix1", &vix1, &vix0, "vix0");
        lines.extend(surplus("vix1", &vix1, &vix0, "vix0"));
        insta::assert_snapshot!(lines.join("\n"));
        assert!(differences("vix0", &vix0, &vix0, "vix1").is_empty());
        assert!(surplus("vix0", &vix0, &vix0, "vix1").is_empty());
    }
}
