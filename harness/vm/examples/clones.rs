//! Saves a booted guest and says how long its clones take to answer.
//!
//! `cargo run --release -p sanlab-vm --example clones -- x86_64 FOLDER [COUNT]`, where FOLDER holds `vmlinux`, `initramfs`
//! and `root.erofs` of that architecture.
#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sanlab_vm::{
    AcceleratorWish, Access, Arch, Command, Drive, Machine, MachineSpec, ProcessGroup, Ram,
    choose_accelerator, qemu_binary,
};

const SOON: Duration = Duration::from_secs(60);
const MEMORY_MIB: u32 = 384;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let arch = match arguments.next().as_deref() {
        Some("x86") => Arch::X86,
        Some("x86_64") => Arch::X86_64,
        _ => return Err("usage: clones x86|x86_64 FOLDER [COUNT]".into()),
    };
    let folder = PathBuf::from(arguments.next().ok_or("which folder?")?);
    let count = arguments.next().map_or(Ok(7), |text| text.parse())?;

    let dir = tempfile::tempdir()?;
    let [ram, disk, state] = ["ram", "disk", "state"].map(|name| dir.path().join(name));
    fs_err::File::create(&ram)?.set_len(u64::from(MEMORY_MIB) << 20)?;
    fs_err::File::create(&disk)?.set_len(1 << 30)?;
    let accelerator = choose_accelerator(AcceleratorWish::Auto, arch).await?;
    let spec = |name: &str, ram, access| -> std::io::Result<MachineSpec> {
        let own = dir.path().join(name);
        fs_err::create_dir(&own)?;
        Ok(MachineSpec {
            name: name.into(),
            arch,
            qemu: qemu_binary(arch),
            accelerator: accelerator.accelerator,
            cpus: 1,
            memory_mib: MEMORY_MIB,
            ram,
            kernel: folder.join("vmlinux"),
            initramfs: folder.join("initramfs"),
            append: Vec::new(),
            drives: vec![
                drive(&folder.join("root.erofs"), "root", Access::ReadOnly),
                drive(&disk, "data", access),
            ],
            nics: Vec::new(),
            console_log: own.join("console.log"),
            dir: own,
        })
    };
    let group = ProcessGroup::new(dir.path())?;
    let template = spec("template", Ram::Kept(ram.clone()), Access::Written)?;
    let template = Machine::start(template, &group).await?;
    template.wait_agent(SOON).await?;
    template.exec(Command::script("true"), SOON).await?;
    template.stop().await?;
    let began = Instant::now();
    let saved = template.save(&state, SOON).await?;
    let saving = began.elapsed();
    template.shutdown(SOON).await?;
    println!("{} bytes saved in {} ms", saved.bytes, saving.as_millis());

    println!(
        "clone: QEMU has the state, runs, its agent answers, a command has run; proportional memory"
    );
    for number in 0..count {
        let spec = spec(
            &format!("clone{number}"),
            Ram::Forked(ram.clone()),
            Access::Forked,
        )?;
        let began = Instant::now();
        let clone = Machine::load(spec, &state, &saved, &group).await?;
        let loaded = began.elapsed();
        clone.cont().await?;
        let running = began.elapsed();
        clone.wait_agent(SOON).await?;
        let answered = began.elapsed();
        clone.exec(Command::script("true"), SOON).await?.success()?;
        let executed = began.elapsed();
        let ms = [loaded, running, answered, executed].map(|time| time.as_millis());
        println!("{number}: {ms:?} ms; {} MiB", clone.usage().pss_bytes >> 20);
        clone.shutdown(SOON).await?;
    }
    group.close().await?;
    Ok(())
}

fn drive(file: &Path, serial: &str, access: Access) -> Drive {
    Drive {
        file: file.to_owned(),
        serial: serial.into(),
        access,
    }
}
