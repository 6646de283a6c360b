//! Names the architecture of the machine the programs will run on: the BPF target has none of its own,
//! and the registers of a probed function depend on it.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(bpf_target_arch, values(\"x86_64\", \"aarch64\"))");
    println!("cargo::rerun-if-env-changed=CARGO_CFG_BPF_TARGET_ARCH");
    let arch = std::env::var("CARGO_CFG_BPF_TARGET_ARCH").ok().or_else(|| {
        let host = std::env::var("HOST").ok()?;
        host.split('-').next().map(str::to_owned)
    });
    println!("cargo::rustc-cfg=bpf_target_arch=\"{}\"", arch.unwrap_or_else(|| "x86_64".to_owned()));
}
