//! Support for the end-to-end tests: a real TLS model endpoint, real clients in their own
//! namespaces and cgroups, the sensor beside them, and the comparison of what it recorded with
//! what the endpoint really received.
#![forbid(unsafe_code)]

pub mod cgroup;
pub mod client;
pub mod collector;
pub mod compare;
pub mod container;
pub mod guest;
pub mod keys;
pub mod matrix;
pub mod paths;
pub mod sandbox;
pub mod sensor;
pub mod server;
pub mod setup;
pub mod wait;
