//! Clients that only the whole matrix needs: they take minutes to build.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{agents::more_agents, clients, folder, list, lock, packages, run, stacks, stacks_folder, step};
use crate::paths;

/// One build of the reqwest clients.
struct Build {
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    /// Folder of the programs below the build folder.
    folder: &'static str,
    /// Program, and the name it gets; a copy without symbols is `NAME_stripped`.
    programs: &'static [(&'static str, &'static str)],
}

const BUILDS: [Build; 3] = [
    Build {
        arguments: &[],
        variables: &[],
        folder: "release",
        programs: &[
            ("reqwest_ring", "reqwest_ring"),
            ("reqwest_aws_lc", "reqwest_aws_lc"),
            ("reqwest_native", "reqwest_native"),
        ],
    },
    Build {
        arguments: &["--no-default-features", "--features", "ring", "--target", "x86_64-unknown-linux-musl"],
        // ring's C code needs no C library.
        variables: &[("CC_x86_64_unknown_linux_musl", "gcc")],
        folder: "x86_64-unknown-linux-musl/release",
        programs: &[("reqwest_ring", "reqwest_ring_static")],
    },
    Build {
        arguments: &["--no-default-features", "--features", "native", "--target", "x86_64-unknown-linux-gnu"],
        // Where to look has to be said: a system's library is never linked statically otherwise (openssl-sys, build/main.rs).
        variables: &[
            ("OPENSSL_STATIC", "1"),
            ("OPENSSL_LIB_DIR", "/usr/lib/x86_64-linux-gnu"),
            ("OPENSSL_INCLUDE_DIR", "/usr/include"),
        ],
        folder: "x86_64-unknown-linux-gnu/release",
        programs: &[("reqwest_native", "reqwest_native_static")],
    },
];

/// Installs every client of the matrix that can be built here; the others are told and left out.
pub fn matrix() -> Result<()> {
    clients()?;
    stacks()?;
    more_agents()?;
    packages("more.txt", "more.stamp", "more", "more Python clients, and a Go of today")?;
    let to = stacks_folder();
    let _lock = lock(&to)?;
    let source = paths::repository().join("tests/clients/go_call.go");
    step(&to.join("go_symbols.stamp"), std::slice::from_ref(&source), "the Go client with symbols", || {
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(to.join("go_call_symbols")).arg(&source);
        run(go.env("GOCACHE", to.join("go-cache")).env("GO111MODULE", "off"))
    })?;
    step(&to.join("go_new.stamp"), &[source.clone(), list("more.txt")], "the Go client of today", || {
        let mut go = Command::new(folder().join("more/bin/go"));
        go.args(["build", "-ldflags", "-s -w", "-o"]).arg(to.join("go_call_new")).arg(&source);
        run(go.env("GOCACHE", to.join("go-new-cache")).env("GO111MODULE", "off").env("GOTOOLCHAIN", "local"))
    })?;
    for build in &BUILDS {
        if let Err(error) = build.run(&to) {
            eprintln!("left out: {error:#}");
        }
    }
    Ok(())
}

impl Build {
    fn run(&self, to: &Path) -> Result<()> {
        let from = paths::repository().join("tests/clients/reqwest");
        let sources = ["Cargo.toml", "Cargo.lock", "src/lib.rs"].map(|file| from.join(file));
        let names = self.programs.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
        let stamp = to.join(format!("{}.stamp", self.programs[0].1));
        step(&stamp, &sources, &names, || {
            let mut cargo = Command::new("cargo");
            cargo.args(["build", "--quiet", "--release", "--locked", "--manifest-path"]);
            cargo.arg(from.join("Cargo.toml")).arg("--target-dir").arg(to.join("reqwest"));
            run(cargo.args(self.arguments).envs(self.variables.iter().copied()))?;
            for (program, name) in self.programs {
                let built = to.join("reqwest").join(self.folder).join(program);
                std::fs::copy(&built, to.join(name))?;
                run(Command::new("strip").arg("-o").arg(to.join(format!("{name}_stripped"))).arg(&built))?;
            }
            Ok(())
        })
    }
}
