//! The writer over a simulated file system, and over a real one.

mod disk;
mod model;
mod sim;
