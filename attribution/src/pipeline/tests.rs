//! Whole stories: kernel events in, records out.

mod calls;
mod hosts;
mod limits;
mod origins;
mod owners;
mod properties;
mod script;
