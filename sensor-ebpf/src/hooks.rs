//! The programs, one file per hook family.

mod connect;
mod credential_file;
mod dns;
mod flow;
mod handshake;
mod http;
mod packet;
mod process;
mod tls;
