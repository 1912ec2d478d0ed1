//! Files and lines of calls, by the DWARF of one ELF file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::path::Path;

use addr2line::Context;
use gimli::{DwarfSections, EndianSlice, LittleEndian, Reader, Relocate, RelocateReader};
use object::read::{File, ReadCache, ReadRef};
use object::{Object as _, ObjectKind, ObjectSection as _, ObjectSymbol as _};
use object::{RelocationKind, RelocationTarget};

use super::call::Call;
use super::functions::{Functions, Layout};
use crate::artefacts::module;

/// A function of every kernel, and the file that it is in: what comes before that is where the kernel was built.
const KNOWN: (&str, &str) = ("start_kernel", "init/main.c");

/// What a file says of some calls.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// For each call its files and lines, those of inlined functions first; nothing for one that is not in the file.
    pub(super) places: Vec<Vec<String>>,
    /// Where the kernel was built: what its files' paths begin with, with `/` at the end.
    pub(super) built_in: Option<String>,
}

/// Looks calls up in a `vmlinux`, of which no more is read than that needs.
pub(super) fn of_kernel(path: &Path, calls: &[&Call]) -> io::Result<Found> {
    let cache = ReadCache::new(fs_err::File::open(path)?.into_parts().0);
    let file = File::parse(&cache).map_err(|error| odd(path, &error))?;
    look_up(&file, calls, None).map_err(|error| odd(path, &error))
}

/// Looks calls up in a module, which may be compressed.
pub(super) fn of_module(path: &Path, calls: &[&Call], built_in: Option<&str>) -> io::Result<Found> {
    let bytes = module::unpacked(fs_err::read(path)?).map_err(|reason| odd(path, &reason))?;
    let file = File::parse(bytes.as_slice()).map_err(|error| odd(path, &error))?;
    look_up(&file, calls, built_in).map_err(|error| odd(path, &error))
}

fn odd(path: &Path, reason: &dyn std::fmt::Display) -> io::Error {
    let path = path.display();
    io::Error::new(io::ErrorKind::InvalidData, format!("{path}: {reason}"))
}

/// A section with what has to be added where.
struct Section<'d> {
    data: Cow<'d, [u8]>,
    relocations: Relocations,
}

/// What is added to values of a section, or takes their place, by their offsets. Empty but for modules.
#[derive(Debug, Default)]
struct Relocations(HashMap<usize, (u64, Takes)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// The value in the section is a part of it.
    Sum,
    /// The value in the section is none.
    Place,
}

impl Relocations {
    fn apply(&self, offset: usize, value: u64) -> u64 {
        match self.0.get(&offset) {
            None => value,
            Some((added, Takes::Sum)) => value.wrapping_add(*added),
            Some((given, Takes::Place)) => *given,
        }
    }
}

impl Relocate for &Relocations {
    fn relocate_address(&self, offset: usize, value: u64) -> gimli::Result<u64> {
        Ok(self.apply(offset, value))
    }

    fn relocate_offset(&self, offset: usize, value: usize) -> gimli::Result<usize> {
        let value = self.apply(offset, value as u64);
        usize::try_from(value).map_err(|_| gimli::Error::UnsupportedOffset)
    }
}

fn look_up<'d, R: ReadRef<'d>>(
    file: &File<'d, R>,
    calls: &[&Call],
    built_in: Option<&str>,
) -> Result<Found, Box<dyn std::error::Error>> {
    let layout = Layout::of(file);
    let functions = Functions::of(file, &layout);
    let addresses: Vec<Option<u64>> = calls.iter().map(|it| functions.address(it)).collect();
    let known = functions.only(KNOWN.0);
    if known.is_none() && addresses.iter().all(Option::is_none) {
        return Ok(Found {
            places: vec![Vec::new(); calls.len()],
            built_in: None,
        });
    }
    let sections = DwarfSections::load(|id| section(file, &layout, id.name()))?;
    let dwarf = sections.borrow(|section| {
        let data = EndianSlice::new(&section.data, LittleEndian);
        RelocateReader::new(data, &section.relocations)
    });
    let context = Context::from_dwarf(dwarf)?;
    let start = known.and_then(|address| places(&context, address).pop());
    let found = start.and_then(|place| {
        let (file, _) = place.rsplit_once(':')?;
        file.strip_suffix(KNOWN.1).map(str::to_owned)
    });
    let built_in = found.or_else(|| built_in.map(str::to_owned));
    let of = |address: Option<u64>| {
        let places = address.map_or_else(Vec::new, |address| places(&context, address));
        let short = |place: String| match &built_in {
            Some(folder) => place.strip_prefix(folder).unwrap_or(&place).to_owned(),
            None => place,
        };
        places.into_iter().map(short).collect()
    };
    Ok(Found {
        places: addresses.into_iter().map(of).collect(),
        built_in,
    })
}

/// File and line of an address, and of the calls of all functions that are inlined there. Nothing, unless all of them are known.
fn places<R: Reader>(context: &Context<R>, address: u64) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(mut frames) = context.find_frames(address).skip_all_loads() else {
        return found;
    };
    loop {
        match frames.next() {
            Ok(Some(frame)) => {
                let place = frame.location.and_then(|it| Some((it.file?, it.line?)));
                let Some((file, line)) = place.filter(|(_, line)| *line > 0) else {
                    return Vec::new();
                };
                found.push(format!("{}:{line}", normal(file)));
            }
            Ok(None) => return found,
            Err(_) => return Vec::new(),
        }
    }
}

/// A path without `.` and `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            "" if !parts.is_empty() => {}
            ".." if parts
                .last()
                .is_some_and(|last| !last.is_empty() && *last != "..") =>
            {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn section<'d, R: ReadRef<'d>>(
    file: &File<'d, R>,
    layout: &Layout,
    name: &str,
) -> Result<Section<'d>, object::Error> {
    let Some(section) = file.section_by_name(name) else {
        return Ok(Section {
            data: Cow::Borrowed(&[]),
            relocations: Relocations::default(),
        });
    };
    let mut relocations = Relocations::default();
    if file.kind() == ObjectKind::Relocatable {
        for (offset, relocation) in section.relocations() {
            // Others are differences within the file, which do not change.
            if relocation.kind() != RelocationKind::Absolute {
                continue;
            }
            let target = match relocation.target() {
                RelocationTarget::Symbol(index) => {
                    let symbol = file.symbol_by_index(index)?;
                    let base = symbol.section_index().map_or(0, |it| layout.base(it));
                    base.wrapping_add(symbol.address())
                }
                RelocationTarget::Section(index) => layout.base(index),
                _ => continue,
            };
            let value = target.wrapping_add_signed(relocation.addend());
            let takes = if relocation.has_implicit_addend() {
                Takes::Sum
            } else {
                Takes::Place
            };
            if let Ok(offset) = usize::try_from(offset) {
                relocations.0.insert(offset, (value, takes));
            }
        }
    }
    Ok(Section {
        data: section.uncompressed_data()?,
        relocations,
    })
}

#[cfg(test)]
mod tests;
