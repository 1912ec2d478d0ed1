//! The functions of QEMU's that are called, as its interface declares them (`include/qemu/qemu-plugin.h`, since 10.2
//! `include/plugins/qemu-plugin.h`). They are looked up when the plugin is loaded, so that this crate can also be linked into
//! programs that are no QEMU.

#![expect(unsafe_code, reason = "a function is known by its name only")]

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::sync::atomic::AtomicPtr;

use super::Refusal;
use crate::api::Api;

/// What the program that has loaded the plugin calls by a name.
pub(super) type Lookup = fn(&CStr) -> Option<*mut c_void>;

/// A block of guest code that is being translated.
pub(super) type Block = *mut c_void;
/// Memory of QEMU's with an element for each virtual processor.
pub(super) type Scoreboard = *mut c_void;

/// `QEMU_PLUGIN_INLINE_ADD_U64`.
pub(super) const ADD_U64: c_uint = 0;

/// `qemu_plugin_u64`: which number in each element of a scoreboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Entry {
    pub(super) scoreboard: Scoreboard,
    /// Bytes from the begin of the element.
    pub(super) offset: usize,
}

/// `qemu_plugin_tb_n_insns`.
pub(super) type Instructions = unsafe extern "C" fn(Block) -> usize;
/// `qemu_plugin_register_vcpu_tb_exec_inline`.
pub(super) type AddToOne = unsafe extern "C" fn(Block, c_uint, *mut c_void, u64);
/// `qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu`.
pub(super) type AddToEach = unsafe extern "C" fn(Block, c_uint, Entry, u64);
/// `qemu_plugin_scoreboard_new`: of elements of so many bytes.
type NewScoreboard = unsafe extern "C" fn(usize) -> Scoreboard;
/// `qemu_plugin_scoreboard_find`: the element of a virtual processor that has been started.
pub(super) type Element = unsafe extern "C" fn(Scoreboard, c_uint) -> *mut c_void;

/// A callback and how it is registered, before version 7.
pub(super) type OnBlock = extern "C" fn(u64, Block);
pub(super) type OnCpu = extern "C" fn(u64, c_uint);
type RegisterOnBlock = unsafe extern "C" fn(u64, OnBlock);
type RegisterOnCpu = unsafe extern "C" fn(u64, OnCpu);
/// The same since version 7: the caller's own pointer comes last.
pub(super) type OnBlock7 = extern "C" fn(Block, *mut c_void);
pub(super) type OnCpu7 = extern "C" fn(c_uint, *mut c_void);
type RegisterOnBlock7 = unsafe extern "C" fn(u64, OnBlock7, *mut c_void);
type RegisterOnCpu7 = unsafe extern "C" fn(u64, OnCpu7, *mut c_void);

/// How additions are made.
pub(super) enum Add {
    /// All to one place.
    ToOne(AddToOne),
    /// To an element for each virtual processor.
    ToEach {
        add: AddToEach,
        element: Element,
        scoreboard: AtomicPtr<c_void>,
    },
}

impl Add {
    /// By the functions of that version. `element_bytes`: what each virtual processor gets.
    pub(super) fn find(api: Api, element_bytes: usize, lookup: Lookup) -> Result<Self, Refusal> {
        // SAFETY: the types are those of the header.
        unsafe {
            if !api.counts_several() {
                let name = c"qemu_plugin_register_vcpu_tb_exec_inline";
                return Ok(Self::ToOne(function(lookup, name)?));
            }
            let new: NewScoreboard = function(lookup, c"qemu_plugin_scoreboard_new")?;
            Ok(Self::ToEach {
                add: function(lookup, c"qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu")?,
                element: function(lookup, c"qemu_plugin_scoreboard_find")?,
                scoreboard: AtomicPtr::new(new(element_bytes)),
            })
        }
    }
}

/// `qemu_plugin_tb_n_insns`.
pub(super) fn instructions(lookup: Lookup) -> Result<Instructions, Refusal> {
    // SAFETY: the type is that of the header.
    unsafe { function(lookup, c"qemu_plugin_tb_n_insns") }
}

/// Has QEMU call when it translates a block. `id` is what it gave the plugin.
pub(super) fn on_block(
    api: Api,
    lookup: Lookup,
    id: u64,
    (before, since): (OnBlock, OnBlock7),
) -> Result<(), Refusal> {
    let name = c"qemu_plugin_register_vcpu_tb_trans_cb";
    // SAFETY: the types are those of the header of that version.
    unsafe {
        match api {
            Api::V7 => {
                let register: RegisterOnBlock7 = function(lookup, name)?;
                register(id, since, std::ptr::null_mut());
            }
            Api::V1 | Api::V2 | Api::V6 => {
                let register: RegisterOnBlock = function(lookup, name)?;
                register(id, before);
            }
        }
    }
    Ok(())
}

/// Has QEMU call when a virtual processor starts, before it executes anything.
pub(super) fn on_cpu(
    api: Api,
    lookup: Lookup,
    id: u64,
    (before, since): (OnCpu, OnCpu7),
) -> Result<(), Refusal> {
    let name = c"qemu_plugin_register_vcpu_init_cb";
    // SAFETY: as above.
    unsafe {
        match api {
            Api::V7 => {
                let register: RegisterOnCpu7 = function(lookup, name)?;
                register(id, since, std::ptr::null_mut());
            }
            Api::V1 | Api::V2 | Api::V6 => {
                let register: RegisterOnCpu = function(lookup, name)?;
                register(id, before);
            }
        }
    }
    Ok(())
}

/// # Safety
///
/// `F` is the type of the function that has this name.
unsafe fn function<F: Copy>(lookup: Lookup, name: &CStr) -> Result<F, Refusal> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>(), "no function") };
    let found = lookup(name).ok_or(Refusal::Functions)?;
    // SAFETY: both are as long, and the caller promises that it is one.
    Ok(unsafe { std::mem::transmute_copy::<*mut c_void, F>(&found) })
}

/// `qemu_info_t`.
#[repr(C)]
pub(crate) struct Info {
    pub(super) target: *const std::ffi::c_char,
    pub(super) oldest_api: c_int,
    pub(super) newest_api: c_int,
    pub(super) is_system: bool,
    pub(super) cpus: c_int,
    pub(super) most_cpus: c_int,
}
