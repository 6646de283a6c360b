//! What is found: a function that carries plaintext, and how to probe it.

use serde::{Deserialize, Serialize};

/// What a function does with plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Takes plaintext to be sent.
    Write,
    /// Gives plaintext that was received.
    Read,
    /// A part of both.
    Both,
}

/// Where a function tells how many bytes it took or gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Count {
    /// In its return value.
    Returned,
    /// Through a pointer, its argument of this number (from 0), when it returns more than 0.
    Through(u8),
}

/// Calling convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Abi {
    /// The platform's: TLS object, buffer, length in the first three arguments.
    C,
    /// The platform's, for an AEAD: input, output, length and key schedule in the first four arguments.
    Aead,
    /// The platform's, for an AEAD: key schedule, state, a count, input, length, output.
    AeadState,
    /// The platform's, for the whole blocks of a record: input, output, length, key schedule, counter, hash key.
    GcmBlocks,
    /// The platform's, for hashing one block: hash, hash key, block.
    GcmHash,
    /// The platform's, for encrypting in counter mode: input, output, number of blocks.
    Counter,
    /// The platform's, for an AEAD whose key is in its parameters: output, input, length, additional data, its length,
    /// parameters.
    Poly,
    /// Go's, by registers (1.17 and later): connection, buffer, length; the goroutine in its own register.
    Go,
}

/// Family of the TLS library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Library {
    /// OpenSSL, LibreSSL and whatever else exports the same functions.
    OpenSsl,
    /// BoringSSL, found without symbols.
    BoringSsl,
    /// GnuTLS.
    GnuTls,
    /// Mbed TLS.
    MbedTls,
    /// Go's crypto/tls.
    Go,
    /// AES-GCM below whatever TLS library.
    AesGcm,
    /// ChaCha20-Poly1305 below whatever TLS library.
    ChaCha20Poly1305,
}

/// How a function was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// In the dynamic symbol table.
    Exported,
    /// In the full symbol table.
    LocalSymbol,
    /// In the symbol table of the file's debug file.
    DebugFile,
    /// By the function name that OpenSSL 3 puts into its error queue.
    NameAnchor,
    /// By the reasons of its error sites.
    ErrorSites,
    /// In Go's function table.
    GoTable,
    /// By the constants of an AEAD module.
    AeadConstants,
}

/// A function that carries plaintext.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Where to probe calls, byte offset in the file: the entry, or a cheaper instruction that every call
    /// passes while stack pointer and arguments are those of the entry.
    pub entry: u64,
    /// Return instructions, byte offsets in the file; empty when a return probe is safe.
    pub returns: Vec<u64>,
    /// Direction.
    pub role: Role,
    /// Where the byte count is.
    pub count: Count,
    /// Calling convention.
    pub abi: Abi,
    /// Whose it is.
    pub library: Library,
    /// How it was found.
    pub method: Method,
}

impl Library {
    /// The name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenSsl => "openssl",
            Self::BoringSsl => "boringssl",
            Self::GnuTls => "gnutls",
            Self::MbedTls => "mbedtls",
            Self::Go => "go",
            Self::AesGcm => "aes_gcm",
            Self::ChaCha20Poly1305 => "chacha20_poly1305",
        }
    }
}

impl Method {
    /// The name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exported => "exported_symbol",
            Self::LocalSymbol => "local_symbol",
            Self::DebugFile => "debug_file",
            Self::NameAnchor => "name_anchor",
            Self::ErrorSites => "error_sites",
            Self::GoTable => "go_table",
            Self::AeadConstants => "aead_constants",
        }
    }
}
