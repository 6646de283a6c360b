//! systemd over D-Bus: which invocation of a unit a cgroup is (org.freedesktop.systemd1(5)).

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use attribution::{event::CgroupKey, identity::answer::Facts};
use zbus::{Connection, OwnedObjectPath, connection::Builder, proxy, proxy::CacheProperties};

use super::{link::Peer, sources::Question};

/// systemd's manager.
#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn get_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn version(&self) -> zbus::Result<String>;
}

/// One unit.
#[proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
trait Unit {
    #[zbus(property(emits_changed_signal = "false"), name = "InvocationID")]
    fn invocation_id(&self) -> zbus::Result<Vec<u8>>;

    /// Microseconds since the epoch.
    #[zbus(property(emits_changed_signal = "false"))]
    fn active_enter_timestamp(&self) -> zbus::Result<u64>;
}

/// systemd of the host.
#[derive(Debug)]
pub(super) struct Systemd {
    socket: PathBuf,
}

impl Systemd {
    pub(super) fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }
}

impl Peer for Systemd {
    type Connection = Connection;

    fn socket(&self) -> Option<&Path> {
        Some(&self.socket)
    }

    async fn connect(&mut self) -> Result<(Connection, String), String> {
        let named = |error: zbus::Error| format!("{}: {error}", self.socket.display());
        let address = format!("unix:path={}", self.socket.display());
        let builder = Builder::address(address.as_str());
        let connection = builder.build().await.map_err(named)?;
        let version = version(&connection).await.map_err(named)?;
        Ok((connection, format!("systemd {version} at {}", self.socket.display())))
    }

    async fn ping(connection: &mut Connection) -> Result<(), String> {
        version(connection).await.map(drop).map_err(|error| error.to_string())
    }

    async fn ask(&self, connection: &mut Connection, question: &Question) -> Result<Option<Facts>, String> {
        let Question::Unit { cgroup, folder, name } = question else { return Ok(None) };
        let facts = known(unit(connection, name).await)?;
        // A unit that was started again has a new folder with another inode.
        Ok(facts.filter(|_| is_same(*cgroup, folder)))
    }
}

// Without a cache: it would ask for every change of every unit.
async fn manager(connection: &Connection) -> zbus::Result<ManagerProxy<'_>> {
    ManagerProxy::builder(connection).cache_properties(CacheProperties::No).build().await
}

async fn version(connection: &Connection) -> zbus::Result<String> {
    manager(connection).await?.version().await
}

async fn unit(connection: &Connection, name: &str) -> zbus::Result<Facts> {
    let path = manager(connection).await?.get_unit(name).await?;
    let unit =
        UnitProxy::builder(connection).path(path).cache_properties(CacheProperties::No).build().await?;
    let instance: String = unit.invocation_id().await?.iter().map(|byte| format!("{byte:02x}")).collect();
    let from = unit.active_enter_timestamp().await?.saturating_mul(1000);
    Ok(Facts { name: name.to_owned(), instance, from, ..Facts::default() })
}

/// An answer, nothing where systemd says no, or the end of the connection.
fn known(answer: zbus::Result<Facts>) -> Result<Option<Facts>, String> {
    match answer {
        Ok(facts) => Ok(Some(facts)),
        Err(zbus::Error::MethodError(..)) => Ok(None),
        Err(zbus::Error::FDO(error)) if !matches!(*error, zbus::fdo::Error::ZBus(_)) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn is_same(cgroup: CgroupKey, folder: &Path) -> bool {
    std::fs::metadata(folder).is_ok_and(|metadata| metadata.ino() == cgroup.id)
}
