//! Project tasks: `cargo xtask VERB`.
#![forbid(unsafe_code)]

mod apt;
mod bench;
mod build;
mod deb;
mod image;
mod lint;
mod matrix;
mod mounts;
mod run;
mod setup;
mod shell;
mod stop;
mod test;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

/// The project's tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Project tasks", max_term_width = 100)]
enum Verb {
    /// Install what is missing on this machine, and say what was found
    Setup(setup::Args),
    /// Build the kernel object, then the sensor with it embedded
    Build(build::Args),
    /// Set up, build and start the sensor
    Run(run::Args),
    /// Set up, build, check and run every test
    Test(test::Args),
    /// Check format, clippy (user and kernel side) and the project's own source rules
    Lint,
    /// Run every client that can be had, and write docs/clients.md
    Matrix(matrix::Args),
    /// Build the Debian package of the sensor
    Deb(deb::Args),
    /// Build container images of sensor and collector from static executables, without a daemon
    Image(image::Args),
    /// Run the sensor and real clients on other kernels, in emulated machines
    Vm(vm::Args),
    /// Measure what the sensor costs, interleaved with its peers
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let done = match Verb::parse() {
        Verb::Setup(args) => setup::main(&args),
        Verb::Build(args) => build::main(&args),
        Verb::Run(args) => run::main(&args),
        Verb::Test(args) => test::main(&args),
        Verb::Lint => lint::main(),
        Verb::Matrix(args) => matrix::main(&args),
        Verb::Deb(args) => deb::main(&args),
        Verb::Image(args) => image::main(&args),
        Verb::Vm(args) => vm::main(&args),
        Verb::Bench(args) => bench::main(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
