//! Where TLS functions are, and which of them are probed in which processes.
//!
//! The crate `locate` finds the functions of one file; [`files`] remembers every file looked at, [`worker`]
//! reads the large ones, [`cache`] keeps what it found, [`installed`] looks for known executables before they run;
//! [`policy`] decides the scope of the probes so that unrelated TLS traffic pays nothing worth measuring.

mod background;
pub mod budget;
pub mod cache;
pub mod files;
pub(crate) mod installed;
pub mod mapping;
pub mod policy;
mod unused;
pub mod worker;
