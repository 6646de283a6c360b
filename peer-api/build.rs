//! Compiles the vendored .proto files without protoc. The servers' halves are for tests.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(
        ["runtime/v1/api.proto", "spire/api/agent/delegatedidentity/v1/delegatedidentity.proto"],
        ["proto"],
    )?;
    tonic_prost_build::configure().build_transport(false).compile_fds(files)?;
    Ok(())
}
