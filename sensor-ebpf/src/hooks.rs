//! The programs, one file per hook family.

mod connect;
mod dns;
mod flow;
mod handshake;
mod http;
mod packet;
mod process;
mod tls;
