//! Boots one guest, runs scripts in it and says how long everything took.
//!
//! `cargo run -p sanlab-vm --example guest -- x86_64 FOLDER 'uname -a' ...`, where FOLDER holds `vmlinux`, `initramfs` and
//! `root.erofs` of that architecture. Each script is given `DEADLINE` seconds (60). Without any a
//! trivial command's latency is measured. With `STREAM=1` their output is shown line by line. With
//! `COUNT=1` instructions are counted; what the boot and each script cost is said in any case.
#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sanlab_vm::{
    AcceleratorWish, Access, Arch, ByteSize, Command, Cost, Counter, Drive, Hardware, Machine,
    MachineSpec, ProcessGroup, QemuVersion, Ram, choose_accelerators, counter_plugin, qemu_binary,
    qemu_version,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let arch = match arguments.next().as_deref() {
        Some("x86") => Arch::X86,
        Some("x86_64") => Arch::X86_64,
        _ => return Err("usage: guest x86|x86_64 FOLDER [SCRIPT...]".into()),
    };
    let folder = PathBuf::from(arguments.next().ok_or("which folder?")?);
    let scripts: Vec<String> = arguments.collect();
    let deadline =
        Duration::from_secs_f64(std::env::var("DEADLINE").map_or(Ok(60.0), |text| text.parse())?);

    let wanted = BTreeMap::from([(arch, arch.into())]);
    let chosen = choose_accelerators(AcceleratorWish::Auto, None, &wanted, None).await?;
    let choice = &chosen[&arch];
    let qemu = qemu_binary(arch, choice.accelerator);
    let version = qemu_version(&qemu).await?;
    println!("{}, QEMU {version}, {choice}", qemu.display());
    let dir = tempfile::tempdir()?;
    let counter = match std::env::var_os("COUNT") {
        None => None,
        Some(_) => Some(Counter {
            plugin: counter_plugin(choice.accelerator, &qemu, arch).await?,
            file: dir.path().join("instructions"),
        }),
    };
    let data = dir.path().join("disk");
    fs_err::File::create(&data)?.set_len(1 << 30)?;
    let spec = MachineSpec {
        name: "guest".into(),
        hardware: Hardware::new(arch, ByteSize::from_mib(384)),
        qemu,
        qemu_version: QemuVersion::parse(&version),
        accelerator: choice.accelerator,
        ram: Ram::Own,
        kernel: folder.join("vmlinux"),
        initramfs: folder.join("initramfs"),
        append: Vec::new(),
        drives: vec![
            Drive::new(folder.join("root.erofs"), "root", Access::ReadOnly),
            Drive::new(data, "data", Access::Written),
        ],
        nics: Vec::new(),
        dir: dir.path().to_owned(),
        console_log: dir.path().join("console.log"),
        counter,
    };
    let group = ProcessGroup::new(dir.path())?;
    let began = Instant::now();
    let machine = Machine::start(spec, &group).await?;
    println!("QEMU ready after {:.2} s", began.elapsed().as_secs_f64());
    machine.wait_agent(Duration::from_secs(60)).await?;
    println!(
        "agent answers after {:.2} s; {}",
        began.elapsed().as_secs_f64(),
        spent(Cost::default(), machine.cost())
    );
    for script in &scripts {
        let mut command = Command::script(script);
        if std::env::var_os("STREAM").is_some() {
            let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
            command = command.stream(sender);
            tokio::spawn(async move {
                while let Some(line) = lines.recv().await {
                    println!(
                        "{:.2} s, {:?}: {}",
                        began.elapsed().as_secs_f64(),
                        line.stream,
                        line.text
                    );
                }
            });
        }
        let before = machine.cost();
        match machine.exec(command, deadline).await {
            Ok(output) => {
                println!(
                    "`{script}` {} after {:.3} s; {}",
                    output.status,
                    output.elapsed.as_secs_f64(),
                    spent(before, machine.cost())
                );
                println!(
                    "{}{}",
                    output.text(),
                    String::from_utf8_lossy(&output.stderr)
                );
            }
            Err(error) => println!("failed to {error}"),
        }
    }
    if scripts.is_empty() {
        let mut taken = Vec::new();
        for _ in 0..51 {
            let output = machine
                .exec(Command::script("true"), Duration::from_secs(10))
                .await?
                .success()?;
            taken.push(output.elapsed);
        }
        taken.sort();
        let ms = |part: usize| taken[taken.len() * part / 100].as_secs_f64() * 1e3;
        println!(
            "a trivial command: median {:.1} ms, 90th percentile {:.1} ms",
            ms(50),
            ms(90)
        );
    }
    println!("{:?}", machine.usage());
    let report = machine.shutdown(Duration::from_secs(2)).await?;
    println!("{report:?}");
    group.close().await?;
    Ok(())
}

fn spent(before: Cost, after: Cost) -> String {
    let cpu = after.host_cpu_seconds - before.host_cpu_seconds;
    let counted = after.instructions.map_or(String::new(), |after| {
        let counted = after - before.instructions.unwrap_or_default();
        format!(", {:.1} million instructions", counted as f64 / 1e6)
    });
    format!("{cpu:.4} CPU s{counted}")
}
