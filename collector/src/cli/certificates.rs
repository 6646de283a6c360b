//! `init` and `issue`.

use std::path::Path;

use anyhow::Context as _;

use super::{CertificateArgs, InitArgs, IssueArgs, TENANT, tokens};
use crate::{
    authority::{Authority, AuthorityError},
    files,
    peer::Peer,
};

/// Folder of certificates in the folder of state.
pub(super) const PKI: &str = "pki";
/// File of the first token.
const TOKEN: &str = "reader.token";
/// Days of the certificate of a collector that was not asked for anything.
const DAYS: u32 = 365;

/// Makes everything for a first fleet and says what to do with it.
pub(super) fn init(dir: &Path, args: &InitArgs) -> anyhow::Result<()> {
    let authority = make(dir, &args.names, args.each.days, &args.each.tenant)?;
    for host in &args.sensors {
        sensor(&authority, dir, &args.each, host)?;
    }
    let name = args.names.first().map_or("collector", String::as_str);
    println!("\nStart the collector: keywitness-collector --dir {}", dir.display());
    next(dir, name);
    Ok(())
}

/// Makes what a collector needs on this host alone.
pub(super) fn init_alone(dir: &Path) -> anyhow::Result<()> {
    let name = host()?;
    let names = [name.clone(), "localhost".into(), "127.0.0.1".into(), "::1".into()];
    make(dir, &names, DAYS, TENANT)?;
    println!("\nAdd a sensor: keywitness-collector issue HOST --dir {}", dir.display());
    next(dir, &name);
    Ok(())
}

/// The name of this host.
pub(super) fn host() -> anyhow::Result<String> {
    // Not from /proc, of which the unit hides this part (ProcSubset=pid).
    let name = rustix::system::uname();
    let name =
        name.nodename().to_str().context("the host's name is no text; name it with --collector-name")?;
    Ok(name.to_owned())
}

fn make(dir: &Path, names: &[String], days: u32, tenant: &str) -> anyhow::Result<Authority> {
    let pki = dir.join(PKI);
    let authority = Authority::create(&pki)?;
    authority.server(names, days)?;
    println!("authority and certificate of the collector: {}", pki.display());
    let token = tokens::make(dir, tenant, "made with the collector")?;
    let path = dir.join(TOKEN);
    files::write(&path, token.as_bytes(), 0o600, true)
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("token that reads what tenant {tenant} has: {}", path.display());
    Ok(authority)
}

fn next(dir: &Path, name: &str) {
    println!(
        "\nOn each sensor's host, with its folder copied to /etc/keywitness/collector, set in \
         /etc/keywitness/config.toml:\n\n\
         [collector]\nendpoints = [\"https://{name}:7443\"]\n\n\
         Ask: keywitness findings --server https://{name}:7444 --ca {} --token-file {}",
        dir.join(PKI).join(crate::authority::CA).display(),
        dir.join(TOKEN).display()
    );
}

/// Makes the certificate of one sensor.
pub(super) fn issue(dir: &Path, args: &IssueArgs) -> anyhow::Result<()> {
    let authority = Authority::open(&dir.join(PKI))?;
    Ok(sensor(&authority, dir, &args.each, &args.host)?)
}

fn sensor(
    authority: &Authority,
    dir: &Path,
    each: &CertificateArgs,
    host: &str,
) -> Result<(), AuthorityError> {
    let peer = Peer::new(&each.tenant, host)?;
    let out = each.out.clone().unwrap_or_else(|| dir.join("sensors")).join(host);
    authority.sensor(&peer, each.days, &out)?;
    println!("certificate of sensor {peer}: {}", out.display());
    Ok(())
}
