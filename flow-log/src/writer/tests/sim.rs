//! A file system that loses what a real one may lose: unsynced writes survive a crash in part, in any
//! order, sector by sector; a failed fdatasync forgets what it did not write; names are lost until the folder
//! is synced; space and patience run out.

use std::{cell::RefCell, collections::BTreeMap, io, rc::Rc};

use fastrand::Rng;

use crate::storage::Storage;

const SECTOR: usize = 64;

/// What goes wrong from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Writes run out of space after so many bytes.
    Full(usize),
    ReadOnly,
    /// So many of a hundred operations fail.
    Io(u64),
}

#[derive(Debug, Clone)]
enum Op {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Debug, Default, Clone)]
struct Inode {
    durable: Vec<u8>,
    cached: Vec<u8>,
    pending: Vec<Op>,
}

#[derive(Debug, Clone)]
enum Name {
    Link(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending: Vec<Name>,
    fault: Fault,
    chance: Rng,
}

/// The file system; a clone is the same one.
#[derive(Debug, Clone)]
pub(super) struct Sim(Rc<RefCell<State>>);

fn apply(bytes: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write(at, data) => {
            bytes.resize(bytes.len().max(at + data.len()), 0);
            bytes[*at..at + data.len()].copy_from_slice(data);
        }
        Op::Truncate(length) => bytes.resize(*length, 0),
    }
}

fn apply_name(names: &mut BTreeMap<String, usize>, op: &Name) {
    match op {
        Name::Link(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        Name::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        Name::Remove(name) => {
            names.remove(name);
        }
    }
}

impl Inode {
    /// Each sector of each pending write reaches the disk or not.
    fn persist_some(&mut self, chance: &mut Rng) {
        let percent = [0, 50, 90, 100][chance.usize(..4)];
        for op in std::mem::take(&mut self.pending) {
            match op {
                Op::Truncate(_) if chance.u64(..100) < percent => apply(&mut self.durable, &op),
                Op::Truncate(_) => {}
                Op::Write(at, data) => {
                    for (index, sector) in data.chunks(SECTOR).enumerate() {
                        if chance.u64(..100) < percent {
                            apply(&mut self.durable, &Op::Write(at + index * SECTOR, sector.to_vec()));
                        }
                    }
                }
            }
        }
    }
}

impl State {
    fn check(&mut self, bytes: usize) -> io::Result<()> {
        match self.fault {
            Fault::None => Ok(()),
            Fault::ReadOnly => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            Fault::Io(percent) if self.chance.u64(..100) < percent => Err(io::Error::from_raw_os_error(5)),
            Fault::Io(_) => Ok(()),
            Fault::Full(left) if bytes <= left => {
                self.fault = Fault::Full(left - bytes);
                Ok(())
            }
            Fault::Full(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

impl Sim {
    pub(super) fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(State {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            fault: Fault::None,
            chance: Rng::with_seed(seed),
        })))
    }

    pub(super) fn set_fault(&self, fault: Fault) {
        self.0.borrow_mut().fault = fault;
    }

    /// Power is lost.
    pub(super) fn crash(&self) {
        let state = &mut *self.0.borrow_mut();
        let kept = state.chance.usize(..=state.pending.len());
        for op in state.pending.drain(..).take(kept) {
            apply_name(&mut state.durable_names, &op);
        }
        state.names = state.durable_names.clone();
        for inode in &mut state.inodes {
            inode.persist_some(&mut state.chance);
            inode.cached = inode.durable.clone();
        }
        state.fault = Fault::None;
    }

    /// Content of all files as programs see it.
    pub(super) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let state = self.0.borrow();
        state.names.iter().map(|(name, inode)| (name.clone(), state.inodes[*inode].cached.clone())).collect()
    }
}

impl Storage for Sim {
    type File = usize;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<usize> {
        let state = &mut *self.0.borrow_mut();
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.check(1)?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.pending.push(Name::Link(name.to_owned(), inode));
        state.names.insert(name.to_owned(), inode);
        Ok(inode)
    }

    fn open(&self, name: &str) -> io::Result<usize> {
        self.0.borrow().names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn length(&self, file: &usize) -> io::Result<u64> {
        Ok(self.0.borrow().inodes[*file].cached.len() as u64)
    }

    fn read_at(&self, file: &usize, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.0.borrow();
        let from = usize::try_from(offset).unwrap();
        let rest = state.inodes[*file].cached.get(from..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, file: &usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        let result = state.check(bytes.len());
        // A write that fails may be done in part.
        let part = match &result {
            Ok(()) => bytes.len(),
            Err(_) if state.fault == Fault::ReadOnly => 0,
            Err(_) => state.chance.usize(..bytes.len().max(1)),
        };
        let op = Op::Write(usize::try_from(offset).unwrap(), bytes[..part].to_vec());
        if part > 0 {
            apply(&mut state.inodes[*file].cached, &op);
            state.inodes[*file].pending.push(op);
        }
        result
    }

    fn truncate(&self, file: &usize, length: u64) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        state.check(0)?;
        let op = Op::Truncate(usize::try_from(length).unwrap());
        apply(&mut state.inodes[*file].cached, &op);
        state.inodes[*file].pending.push(op);
        Ok(())
    }

    fn sync(&self, file: &usize) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        if let Err(error) = state.check(0) {
            // The kernel tells once, and takes the pages for written.
            state.inodes[*file].persist_some(&mut state.chance);
            return Err(error);
        }
        let inode = &mut state.inodes[*file];
        for op in std::mem::take(&mut inode.pending) {
            apply(&mut inode.durable, &op);
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        state.check(0)?;
        let op = Name::Rename(from.to_owned(), to.to_owned());
        apply_name(&mut state.names, &op);
        state.pending.push(op);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        state.check(0)?;
        let op = Name::Remove(name.to_owned());
        apply_name(&mut state.names, &op);
        state.pending.push(op);
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        state.check(0)?;
        for op in state.pending.drain(..) {
            apply_name(&mut state.durable_names, &op);
        }
        Ok(())
    }
}
