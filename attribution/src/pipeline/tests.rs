//! Whole stories: kernel events in, records out.

mod calls;
mod hosts;
mod http2;
mod limits;
mod origins;
mod owners;
mod properties;
mod recording;
mod script;
mod sessions;
mod websocket;
mod workloads;
