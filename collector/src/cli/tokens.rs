//! `token`.

use std::path::Path;

use anyhow::{Context as _, bail};

use super::TokenArgs;
use crate::{
    files,
    peer::Peer,
    state::{FILE, State},
    token,
};

/// Prints a new token.
pub(super) fn add(dir: &Path, args: &TokenArgs) -> anyhow::Result<()> {
    println!("{}", make(dir, &args.tenant, &args.note)?);
    Ok(())
}

/// Ends tokens; the running collector refuses them at once.
pub(super) fn remove(dir: &Path, args: &TokenArgs) -> anyhow::Result<()> {
    let removed = open(dir)?.remove_tokens(&args.tenant, &args.note).context("cannot remove tokens")?;
    if removed == 0 {
        bail!("tenant {} has no token with the note `{}`", args.tenant, args.note);
    }
    println!("{removed} removed");
    Ok(())
}

/// Makes a token of a tenant.
pub(super) fn make(dir: &Path, tenant: &str, note: &str) -> anyhow::Result<String> {
    // The same names as in certificates.
    Peer::new(tenant, "host")?;
    let (text, hash) = token::make()?;
    open(dir)?.add_token(&hash, tenant, note).context("cannot keep the token")?;
    Ok(text)
}

fn open(dir: &Path) -> anyhow::Result<State> {
    files::make_folder(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let path = dir.join(FILE);
    State::open(&path).with_context(|| format!("cannot open {}", path.display()))
}
