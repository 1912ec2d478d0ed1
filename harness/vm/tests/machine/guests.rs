//! Real guests on the test bench: of the images that the store has.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use guest_trials::{Suite, Tier};
use sanlab_vm::{
    AcceleratorWish, Access, Arch, ByteSize, Command, Drive, Hardware, MacAddress, Machine,
    MachineSpec, Nic, NicModel, QemuVersion, Ram, choose_accelerators, qemu_binary, qemu_version,
};

use crate::bench::{Bench, SOON};
use crate::run;

/// Enough for a guest that does nothing.
pub(crate) const MEMORY: ByteSize = ByteSize::from_mib(256);
/// The first bytes of a new data disk.
pub(crate) const MARK: &[u8; 16] = b"made by the host";

/// Why no guest can be started.
pub(crate) fn lacking() -> Result<(), String> {
    match [Arch::X86, Arch::X86_64]
        .into_iter()
        .find(|arch| image(*arch).is_none())
    {
        Some(arch) => Err(format!(
            "there is no image for {arch}: `sanlab image build` makes one"
        )),
        None => Ok(()),
    }
}

/// Adds a trial with a real guest.
pub(crate) fn guest_trial<F: Future<Output = ()> + 'static>(
    suite: &mut Suite,
    name: &str,
    test: fn() -> F,
) {
    suite.guests(name, Tier::Nightly, move || run(test));
}

/// The newest image of the store.
fn image(arch: Arch) -> Option<PathBuf> {
    let store = std::env::var_os("SANLAB_CACHE").map(PathBuf::from);
    let store =
        store.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/sanlab")))?;
    let release = match arch {
        Arch::X86 => "-686",
        Arch::X86_64 => "-amd64",
    };
    let images = fs_err::read_dir(store.join("images")).ok()?.flatten();
    let fitting = images.filter_map(|entry| {
        let label = entry.path().join("image.json");
        let text = fs_err::read_to_string(&label).ok()?;
        let json: serde_json::Value = serde_json::from_str(&text).ok()?;
        let fits = json["kernel_release"].as_str()?.contains(release);
        let made = fs_err::metadata(&label).ok()?.modified().ok()?;
        fits.then_some((made, entry.path()))
    });
    fitting.max().map(|(_, path)| path)
}

/// A machine in a folder of its own, with both kinds of network card and a data disk that may be another's.
pub(crate) async fn guest(
    bench: &Bench,
    arch: Arch,
    name: &str,
    ram: Ram,
    disk: (&Path, Access),
) -> MachineSpec {
    let image = image(arch).expect("the trial runs only where there is one");
    let wanted = BTreeMap::from([(arch, arch.into())]);
    let chosen = choose_accelerators(AcceleratorWish::Auto, None, &wanted, None).await;
    let accelerator = chosen.expect("TCG at least")[&arch].accelerator;
    let qemu = qemu_binary(arch, accelerator);
    let version = qemu_version(&qemu).await.expect("it says its version");
    let dir = bench.dir.path().join(name);
    fs_err::create_dir(&dir).expect("a folder");
    let models = [NicModel::VirtioNet, NicModel::E1000];
    let nics = models.into_iter().zip(0_u8..).map(|(model, number)| {
        let socket = dir.join(format!("port{number}"));
        let mut ports = bench.ports.borrow_mut();
        ports.push(UnixListener::bind(&socket).expect("a socket"));
        let serial = u8::try_from(ports.len()).expect("a few");
        let mac = MacAddress([0x52, 0x54, 0, 0x4d, 1, serial]);
        Nic { model, mac, socket }
    });
    let nics = nics.collect();
    MachineSpec {
        name: name.into(),
        hardware: Hardware::new(arch, MEMORY),
        qemu,
        qemu_version: QemuVersion::parse(&version),
        accelerator,
        ram,
        kernel: image.join("vmlinux"),
        initramfs: image.join("initramfs"),
        append: Vec::new(),
        drives: vec![
            Drive::new(image.join("root.erofs"), "root", Access::ReadOnly),
            Drive::new(disk.0, "data", disk.1),
        ],
        nics,
        console_log: bench.dir.path().join(format!("{name}.log")),
        dir,
        counter: None,
    }
}

/// An empty RAM file, and a data disk of 16 MiB that begins with the mark.
pub(crate) fn files(bench: &Bench) -> (PathBuf, PathBuf) {
    let (ram, disk) = (bench.dir.path().join("ram"), bench.dir.path().join("disk"));
    for (path, bytes) in [(&ram, MEMORY.bytes()), (&disk, 16 << 20)] {
        let file = fs_err::File::create(path).expect("a file");
        file.set_len(bytes).expect("sparse");
    }
    let file = fs_err::OpenOptions::new().write(true).open(&disk);
    let file = file.expect("a file");
    file.file().write_all_at(MARK, 0).expect("it is written");
    (ram, disk)
}

/// What a script says in the guest.
pub(crate) async fn say(machine: &Machine, script: &str) -> String {
    let output = machine.exec(Command::script(script), SOON).await;
    let output = output.and_then(sanlab_vm::Output::success);
    let output = output.unwrap_or_else(|error| panic!("failed to {error}"));
    output.text().trim_end().to_owned()
}
