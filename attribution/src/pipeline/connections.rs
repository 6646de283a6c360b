//! Connections whose plaintext is read, by what names them.

use std::collections::{BTreeSet, HashMap};

use crate::call::Connection;
use crate::event::{Handle, ProcessKey};

/// What names a connection. The kinds are apart: a client chooses its random and could choose one that
/// looks like another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Name {
    /// Client random: names one connection for ever.
    Random(Handle),
    /// Address of a TLS object and process: names one connection until the object is freed.
    Object(Handle),
    /// Socket cookie of a connection without TLS.
    Cleartext(u64),
}

/// All connections, and which of them only the end of their process will end.
#[derive(Default)]
pub(super) struct Connections {
    open: HashMap<Name, Connection>,
    unbound: HashMap<ProcessKey, BTreeSet<Name>>,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn get(&self, name: Name) -> Option<&Connection> {
        self.open.get(&name)
    }

    pub(super) fn get_mut(&mut self, name: Name) -> Option<&mut Connection> {
        self.open.get_mut(&name)
    }

    pub(super) fn insert(&mut self, name: Name, connection: Connection) {
        self.remove(name);
        if connection.cookie == 0 {
            self.unbound.entry(connection.owner).or_default().insert(name);
        }
        self.open.insert(name, connection);
    }

    pub(super) fn remove(&mut self, name: Name) -> Option<Connection> {
        let connection = self.open.remove(&name)?;
        if let Some(names) = self.unbound.get_mut(&connection.owner) {
            names.remove(&name);
            if names.is_empty() {
                self.unbound.remove(&connection.owner);
            }
        }
        Some(connection)
    }

    /// Unbound connections of a process, in a fixed order.
    pub(super) fn unbound(&self, process: ProcessKey) -> Vec<Name> {
        self.unbound.get(&process).into_iter().flatten().copied().collect()
    }

    /// Connections that fit, in a fixed order.
    pub(super) fn select(&self, fits: impl Fn(&Connection) -> bool) -> Vec<Name> {
        let mut found: Vec<Name> =
            self.open.iter().filter(|(_, known)| fits(known)).map(|(name, _)| *name).collect();
        found.sort_unstable();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Route;

    #[test]
    fn nothing_of_a_removed_connection_stays() {
        let mut table = Connections::default();
        let owner = ProcessKey { pid: 1, start_ns: 1 };
        for byte in 0..100 {
            let name = Name::Object([byte; 16]);
            table.insert(name, Connection::new(owner, 0, "", Route::default()));
            assert_eq!(table.unbound(owner), [name]);
            table.remove(name);
        }
        assert!(table.open.is_empty() && table.unbound.is_empty());
    }
}
