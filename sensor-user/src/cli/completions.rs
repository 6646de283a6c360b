//! `keywitness completions` and `keywitness man`: made from the definition of the command line itself.

use std::{fs, io, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionArgs {
    /// For which shell
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Folder that the pages are written to, one for each verb [default: the main page on standard output]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionArgs, mut command: Command) -> ExitCode {
    clap_complete::generate(args.shell, &mut command, "keywitness", &mut io::stdout());
    ExitCode::SUCCESS
}

pub(super) fn man(args: &ManArgs, command: Command) -> anyhow::Result<ExitCode> {
    match &args.folder {
        None => clap_mangen::Man::new(command).render(&mut io::stdout())?,
        Some(folder) => {
            let failed = || format!("cannot write man pages to {}", folder.display());
            fs::create_dir_all(folder).with_context(failed)?;
            clap_mangen::generate_to(command, folder).with_context(failed)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
