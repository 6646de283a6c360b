//! `image`: container images from static executables, as OCI image layouts (image-spec 1.1), without a daemon.
//!
//! glibc, linked statically, and not musl: it is the libc that is measured and tested everywhere else, musl's allocator
//! is far slower under an allocator that wipes, and since 2.34 the resolver needs no file beside the executable.

mod container;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::shell::{is_root, run, say, text};
use crate::{build, workspace};

/// Built apart from all else, so that build scripts and macros stay dynamic.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const STATIC: &str = "-Ctarget-feature=+crt-static";
/// Authorities of the machine that builds, for receivers with public certificates.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";
/// Time of everything inside, so that the same executables give the same image.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// What to build.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Tag of the images
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
}

/// One image: its name is that of its executable.
struct Image {
    name: &'static str,
    package: &'static str,
    /// Folders that it has besides that of the executable.
    folders: &'static [&'static str],
    /// User and group; empty for root.
    user: &'static str,
    arguments: &'static [&'static str],
}

const IMAGES: [Image; 2] = [
    Image {
        name: "keywitness",
        package: "sensor-user",
        folders: &["etc/keywitness", "var/lib/keywitness", "tmp"],
        user: "",
        arguments: &["run"],
    },
    Image {
        name: "keywitness-collector",
        package: "keywitness-collector",
        folders: &["var/lib/keywitness-collector"],
        user: "65532:65532",
        arguments: &["serve"],
    },
];

/// Runs the verb.
pub(crate) fn main(args: &Args) -> Result<()> {
    build::kernel()?;
    say("building static executables");
    let mut cargo = workspace::cargo("build");
    cargo.args(["--release", "--bins", "--target", TARGET]).env("CARGO_ENCODED_RUSTFLAGS", STATIC);
    for image in &IMAGES {
        cargo.args(["--package", image.package]);
    }
    run(&mut cargo)?;
    for image in &IMAGES {
        let folder = workspace::target_dir().join("image").join(image.name);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        let root = folder.join("root");
        fill(image, &root)?;
        let made = pack(image, &folder, &args.tag)?;
        let mib = fs::metadata(&made)?.len() >> 20;
        say(format_args!("built {} ({mib} MiB), {}:{}", made.display(), image.name, args.tag));
        match is_root() {
            true => container::try_out(image, &folder)?,
            false => say(format_args!("{} is not tried out: that needs root", image.name)),
        }
    }
    Ok(())
}

/// Puts everything in place that the image has.
fn fill(image: &Image, root: &Path) -> Result<()> {
    for folder in ["usr/bin", "etc/ssl/certs"].iter().chain(image.folders) {
        make(&root.join(folder))?;
    }
    let executable = root.join("usr/bin").join(image.name);
    let built = workspace::target_dir().join(TARGET).join("release").join(image.name);
    run(Command::new("strip").arg("-o").arg(&executable).arg(&built)).context("install binutils")?;
    let headers = text(Command::new("readelf").args(["--program-headers", "--wide"]).arg(&executable))?;
    if headers.contains("INTERP") {
        bail!("{} is not static: it asks for a dynamic loader", executable.display());
    }
    let authorities = Path::new("/").join(AUTHORITIES);
    if authorities.exists() {
        let to = root.join(AUTHORITIES);
        fs::copy(&authorities, &to).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

/// Makes the layout, and one archive of it.
fn pack(image: &Image, folder: &Path, tag: &str) -> Result<PathBuf> {
    let layout = folder.join("layout");
    make(&layout.join("blobs/sha256"))?;
    let layer = folder.join("layer.tar");
    archive(&folder.join("root"), &layer)?;
    let unpacked = digest(&layer)?;
    run(Command::new("gzip").args(["--best", "--no-name", "--force"]).arg(&layer))?;
    let layer = blob(&layout, &layer.with_extension("tar.gz"), "layer.v1.tar+gzip")?;
    let of_kind = |name: &str, value: &Value, kind: &str| {
        let file = folder.join(name);
        fs::write(&file, value.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
        blob(&layout, &file, kind)
    };
    let program = format!("/usr/bin/{}", image.name);
    let config = json!({
        "created": EPOCH,
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": image.user,
            "Entrypoint": [program],
            "Cmd": image.arguments,
            "Labels": {
                "org.opencontainers.image.title": image.name,
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.licenses": "Apache-2.0 OR MIT",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [unpacked]},
    });
    let config = of_kind("config.json", &config, "config.v1+json")?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layer],
    });
    let mut manifest = of_kind("manifest.json", &manifest, "manifest.v1+json")?;
    manifest["annotations"] = json!({
        "io.containerd.image.name": format!("docker.io/library/{}:{tag}", image.name),
        "org.opencontainers.image.ref.name": tag,
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest],
    });
    fs::write(layout.join("index.json"), index.to_string())?;
    fs::write(layout.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    let made = folder.with_extension("oci.tar");
    archive(&layout, &made)?;
    Ok(made)
}

/// Moves a file among the blobs; its descriptor.
fn blob(layout: &Path, file: &Path, kind: &str) -> Result<Value> {
    let digest = digest(file)?;
    let size = fs::metadata(file)?.len();
    let to = layout.join("blobs").join(digest.replace(':', "/"));
    fs::rename(file, &to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": size}))
}

fn digest(file: &Path) -> Result<String> {
    let told = text(Command::new("sha256sum").arg(file))?;
    Ok(format!("sha256:{}", told.split(' ').next().unwrap_or_default()))
}

/// The files of a folder as an archive that depends on nothing but their names, modes and bytes.
fn archive(folder: &Path, to: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.args(["--format=ustar", "--mode=u=rwX,go=rX"]);
    run(tar.arg("--file").arg(to).arg("--directory").arg(folder).arg("."))
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_root_gives_the_same_image_whose_parts_name_each_other() {
        let base = std::env::temp_dir().join(format!("xtask-image-{}", std::process::id()));
        let mut digests = Vec::new();
        for turn in ["one", "two"] {
            let folder = base.join(turn);
            make(&folder.join("root/usr/bin")).unwrap();
            fs::write(folder.join("root/usr/bin/keywitness"), "program").unwrap();
            digests.push(digest(&pack(&IMAGES[0], &folder, "1").unwrap()).unwrap());
        }
        let layout = base.join("one/layout");
        let read = |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
        let of = |descriptor: &Value| {
            layout.join("blobs").join(descriptor["digest"].as_str().unwrap().replace(':', "/"))
        };
        let manifest = read(of(&read(layout.join("index.json"))["manifests"][0]));
        assert_eq!(read(of(&manifest["config"]))["config"]["Entrypoint"], json!(["/usr/bin/keywitness"]));
        let layer = of(&manifest["layers"][0]);
        assert_eq!(fs::metadata(&layer).unwrap().len(), manifest["layers"][0]["size"].as_u64().unwrap());
        let files = text(Command::new("tar").args(["--list", "--gzip", "--file"]).arg(layer)).unwrap();
        assert!(files.contains("./usr/bin/keywitness\n"), "{files}");
        fs::remove_dir_all(&base).unwrap();
        assert_eq!(digests[0], digests[1]);
    }
}
