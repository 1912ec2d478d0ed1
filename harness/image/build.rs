//! How images and the programs in them are built from the same inputs.

#[path = "../source_digest.rs"]
mod source_digest;

fn main() {
    // An image also has the kernel's modules for others, which the code for artefacts packs.
    let of_images = [
        "src/build",
        "src/artefacts/elf.rs",
        "src/artefacts/kernel.rs",
        "src/artefacts/module.rs",
    ];
    source_digest::export("IMAGE_BUILDER", &of_images);
    source_digest::export("ARTEFACTS_BUILDER", &["src/artefacts"]);
    let of_programs = ["compile.sh", "compiler.rs", "programs.rs"];
    let of_programs = of_programs.map(|file| format!("src/build/{file}"));
    let of_programs: Vec<&str> = of_programs.iter().map(String::as_str).collect();
    source_digest::export("PROGRAMS_BUILDER", &of_programs);
}
