//! Where TLS functions are, and which of them are probed in which processes.
//!
//! [`elf`] finds the functions of one file; [`files`] remembers every file looked at; [`policy`] decides
//! the scope of the probes so that unrelated TLS traffic pays nothing worth measuring.

pub mod budget;
pub mod elf;
pub mod files;
pub mod policy;
