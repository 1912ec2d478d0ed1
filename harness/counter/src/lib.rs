//! A QEMU plugin (for TCG) that counts a guest's instructions in a file, and the reader of that file.
//!
//! In the pipeline this crate stands before `vm`, which loads the plugin into QEMU and reads the file; it uses no other
//! crate of the lab. It is built twice: as `libsanlab_counter.so`, which QEMU loads by
//! `-plugin libsanlab_counter.so,out=FILE,api=N`, and as a Rust library with [`CounterFile`] and [`Api`]. QEMU supports a range of
//! versions of its plugin interface, and loads nothing else: `N` is the one by which this plugin shall be loaded.
//!
//! Every block of guest code gets one more operation when it is translated: add the number of its instructions to a counter
//! in memory that is shared with the file. Reading costs QEMU nothing, and the reader a `pread` for each virtual processor.
//!
//! What the figure is: instructions that the guest's virtual processors began to execute, of its kernel, its programs and
//! its idle loop, since QEMU was started. A halted processor counts nothing. A block that an exception leaves early counts in
//! full. A string instruction counts once however much it moves, or once for each repetition: that depends on how QEMU's version
//! translates it. Since version 2 of the interface each virtual processor
//! has a counter of its own. Before that there is one, and the addition is not atomic, so that two processors would lose counts:
//! the plugin refuses to be loaded where there is more than one.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let folder = tempfile::tempdir()?;
//! use sanlab_counter::CounterFile;
//!
//! let file = CounterFile::create(&folder.path().join("instructions"), 2)?;
//! // QEMU is started with `-smp 2 -plugin libsanlab_counter.so,out=.../instructions,api=7`, and the guest runs.
//! assert_eq!(file.read()?, Some(0));
//! # Ok(())
//! # }
//! ```

mod api;
mod file;
mod plugin;

pub use api::Api;
pub use file::CounterFile;

/// The plugin's file name.
pub const PLUGIN: &str = "libsanlab_counter.so";
