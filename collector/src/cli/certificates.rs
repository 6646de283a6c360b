//! `init` and `issue`.

use std::path::Path;

use super::{CertificateArgs, InitArgs, IssueArgs};
use crate::{
    authority::{AuthorityError, Authority},
    peer::Peer,
};

/// Makes everything for a first fleet and says what to do with it.
pub(super) fn init(dir: &Path, args: InitArgs) -> anyhow::Result<()> {
    let pki = dir.join("pki");
    let authority = Authority::create(&pki)?;
    authority.server(&args.names, args.each.days)?;
    println!("authority and certificate of the collector: {}", pki.display());
    for host in &args.sensors {
        sensor(&authority, dir, &args.each, host)?;
    }
    let name = args.names.first().map_or("collector", String::as_str);
    println!(
        "\nOn each sensor's host, with its folder copied to /etc/keywitness/collector, add to /etc/keywitness/config.toml:\n\n\
         [collector]\nendpoints = [\"https://{name}:7443\"]\n\n\
         Then start the collector: keywitness-collector --dir {}",
        dir.display()
    );
    Ok(())
}

/// Makes the certificate of one sensor.
pub(super) fn issue(dir: &Path, args: IssueArgs) -> anyhow::Result<()> {
    let authority = Authority::open(&dir.join("pki"))?;
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
