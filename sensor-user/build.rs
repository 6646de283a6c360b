//! Embeds the kernel object when it has been built; without it the crate still compiles, and `run`
//! says what to do.

use std::{env, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-env-changed=KEYWITNESS_BPF_OBJECT");
    let object = match env::var_os("KEYWITNESS_BPF_OBJECT") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../target/bpf/keywitness.bpf.o"),
    };
    println!("cargo::rerun-if-changed={}", object.display());
    let embedded = PathBuf::from(env::var("OUT_DIR")?).join("keywitness.bpf.o");
    match fs::read(&object) {
        Ok(bytes) => fs::write(&embedded, bytes)?,
        Err(_) => fs::write(&embedded, [])?,
    }
    Ok(())
}
