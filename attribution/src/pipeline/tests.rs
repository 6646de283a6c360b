//! Whole stories: kernel events in, records out.

mod calls;
mod hosts;
mod limits;
mod owners;
mod properties;
mod script;
mod workloads;
