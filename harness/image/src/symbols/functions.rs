//! The functions of an ELF file by what a kernel says of them: their names, and how far it is to the next one.

use std::collections::{BTreeSet, HashMap};

use object::{Object, ObjectKind, ObjectSection as _, ObjectSymbol as _, SectionFlags, SymbolKind};
use object::{SectionIndex, elf};

use super::call::Call;

/// A module's code takes whole pages: what the last of its functions is long, for the kernel.
const PAGE: u64 = 4096;

/// Symbols that a kernel does not look up, by their beginnings: `scripts/kallsyms.c`, `is_mapping_symbol`.
const IGNORED: [&str; 6] = [".L", "L0", "$", "__crc_", "__kstrtab", "__efistub_"];

/// Where the sections with code of a file are thought to be. Those of a module have no addresses of their own: they lie one after
/// another as the kernel would lay them, the ones that it frees after the start beyond them.
#[derive(Debug, Default)]
pub(super) struct Layout {
    bases: HashMap<SectionIndex, u64>,
    /// Of a module: where the code ends that stays, and the one that is freed.
    ends: Vec<u64>,
}

impl Layout {
    pub(super) fn of<'d>(file: &impl Object<'d>) -> Self {
        let mut layout = Self::default();
        if file.kind() != ObjectKind::Relocatable {
            return layout;
        }
        let has_code = |flags| match flags {
            SectionFlags::Elf { sh_flags, .. } => {
                let wanted = elf::SHF_EXECINSTR | elf::SHF_ALLOC;
                sh_flags.0 & wanted.0 == wanted.0
            }
            _ => false,
        };
        let mut end = PAGE;
        for init in [false, true] {
            for section in file.sections().filter(|it| has_code(it.flags())) {
                let name = section.name().unwrap_or_default();
                if name.starts_with(".init") != init {
                    continue;
                }
                let base = end.next_multiple_of(section.align().max(1));
                layout.bases.insert(section.index(), base);
                end = base + section.size();
            }
            end = end.next_multiple_of(PAGE);
            layout.ends.push(end);
        }
        layout
    }

    /// Where a section is; 0 of what has an address of its own, or none at all.
    pub(super) fn base(&self, section: SectionIndex) -> u64 {
        self.bases.get(&section).copied().unwrap_or(0)
    }
}

/// The functions of a file.
#[derive(Debug)]
pub(super) struct Functions {
    /// By name; there may be several of one.
    named: HashMap<String, Vec<u64>>,
    /// Where anything begins, or all ends.
    all: BTreeSet<u64>,
}

impl Functions {
    pub(super) fn of<'d>(file: &impl Object<'d>, layout: &Layout) -> Self {
        let mut functions = Self {
            named: HashMap::new(),
            all: layout.ends.iter().copied().collect(),
        };
        let is_module = !layout.ends.is_empty();
        for symbol in file.symbols() {
            let name = symbol.name().unwrap_or_default();
            let Some(section) = symbol.section_index() else {
                continue;
            };
            let told = !name.is_empty() && !IGNORED.iter().any(|begin| name.starts_with(begin));
            let none = matches!(symbol.kind(), SymbolKind::Section | SymbolKind::File);
            // Of a module, data are elsewhere.
            if none || !told || is_module && !layout.bases.contains_key(&section) {
                continue;
            }
            let address = layout.base(section) + symbol.address();
            functions.all.insert(address);
            let known = functions.named.entry(name.to_owned()).or_default();
            if !known.contains(&address) {
                known.push(address);
            }
        }
        functions
    }

    /// Where the call is, if exactly one function has its name and its size.
    pub(super) fn address(&self, call: &Call) -> Option<u64> {
        let within = call.within()?;
        let named = self.named.get(&call.function)?;
        let mut fitting = named
            .iter()
            .filter(|address| self.size(**address) == Some(call.size));
        let address = fitting.next()?;
        fitting.next().is_none().then_some(address + within)
    }

    /// Where the only function of that name is.
    pub(super) fn only(&self, name: &str) -> Option<u64> {
        match self.named.get(name)?.as_slice() {
            [address] => Some(*address),
            _ => None,
        }
    }

    /// How far it is to what comes next, as the kernel counts it: with what fills the space between them.
    fn size(&self, address: u64) -> Option<u64> {
        let next = self.all.range(address + 1..).next()?;
        Some(next - address)
    }
}
