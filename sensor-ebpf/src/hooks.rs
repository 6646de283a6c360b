//! The programs, one file per hook family.

mod aead;
mod cleartext;
mod connect;
mod dns;
mod flow;
mod gcm;
mod go;
mod handshake;
mod http;
mod packet;
mod poly;
mod probe;
mod process;
mod tls;
mod wire;
