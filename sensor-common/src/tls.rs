//! Events, tables and limits of the TLS hooks.

use crate::{Header, Task, layout};

/// Plaintext bytes in the largest event.
pub const MAX_CHUNK: usize = 16384;
/// Event payload sizes, smallest that fits is used, bytes.
pub const SIZES: [usize; 4] = [512, 2048, 4096, MAX_CHUNK];
/// Events for one read or write; the rest of a larger one is a jump in the position.
pub const MAX_CHUNKS: u32 = 16;
/// Files whose TLS functions can be probed at one time.
pub const MAX_TARGETS: u32 = 1024;
/// Bytes of a TLS object searched for the client random.
pub const SEARCH_WINDOW: u64 = 2048;
/// Failed searches per file before the search stops until user space allows more.
pub const SEARCH_TRIES: u32 = 256;

/// Direction of plaintext.
pub mod direction {
    /// Written by the process.
    pub const WRITE: u32 = 0;
    /// Read by the process.
    pub const READ: u32 = 1;
}

/// What user space tells a probe about its function, in the attach cookie.
pub mod cookie {
    /// Bits of the target: the index of the probed file.
    pub const TARGET: u64 = 0xffff_ffff;
    /// The function reads, else it writes.
    pub const READ: u64 = 1 << 32;
    /// Where the number of the argument starts through which the function stores its byte count (3 or 4);
    /// 0 when it returns the count.
    pub const COUNT_SHIFT: u32 = 33;
    /// Bits of that number.
    pub const COUNT_MASK: u64 = 7;
    /// Where the order of an AEAD's arguments starts, one of [`super::order`].
    pub const ORDER_SHIFT: u32 = 36;
    /// Bits of that order.
    pub const ORDER_MASK: u64 = 3;
}

/// Order of the arguments of an AEAD function.
pub mod order {
    /// Input, output, length, key schedule: a whole record.
    pub const RECORD: u64 = 0;
    /// Key schedule, state, a count, input, length, output: a whole record.
    pub const STATE: u64 = 1;
    /// Input, output, length, key schedule, counter, hash key: the whole blocks of a record.
    pub const BLOCKS: u64 = 2;
}

/// How a record protects its contents: what of it is authenticated, and what the wire shows.
pub mod form {
    /// TLS 1.3: the last plaintext byte is the content type (RFC 8446 5.2).
    pub const INNER: u16 = 0;
    /// AES-GCM in TLS 1.2: 8 bytes of nonce stand before the ciphertext (RFC 5288 3).
    pub const EXPLICIT: u16 = 1;
    /// ChaCha20-Poly1305 in TLS 1.2: nothing but ciphertext and tag (RFC 7905 2).
    pub const IMPLICIT: u16 = 2;
    /// Bytes of nonce before the ciphertext of an [`EXPLICIT`] record.
    pub const NONCE: usize = 8;
}

/// Content types (RFC 8446 5.1, RFC 5246 6.2.1).
pub mod content {
    /// Not told below the record layer.
    pub const UNKNOWN: u16 = 0;
    /// Handshake.
    pub const HANDSHAKE: u16 = 0x16;
    /// Application data.
    pub const DATA: u16 = 0x17;
}

/// What user space decided about a TLS connection.
pub mod verdict {
    /// Not decided; plaintext is copied.
    pub const PENDING: u8 = 0;
    /// A model endpoint.
    pub const MODEL: u8 = 1;
    /// Something else: nothing is copied.
    pub const OTHER: u8 = 2;
}

/// How a TLS connection is named in [`Handle`].
pub mod handle {
    /// By the first half of its client random (RFC 8446 4.1.2), read from the TLS object.
    pub const RANDOM: u32 = 1;
    /// By TLS object address and process, because the random could not be found.
    pub const OBJECT: u32 = 2;
}

layout! {
    /// Name of a TLS connection.
    pub struct Handle {
        /// Client random, or process id and object address.
        pub bytes: [u8; 16],
    }

    /// A TLS connection.
    pub struct Connection {
        /// Socket cookie of the flow whose ClientHello carried this random; 0 when unbound.
        pub cookie: u64,
        /// TLS object of the client side, 0 until it wrote a request.
        pub object: u64,
        /// Process of the client side.
        pub tgid: u32,
        /// Padding.
        pub pad: u32,
        /// Plaintext bytes the client side has moved so far, by [`direction`].
        pub moved: [u64; 2],
    }

    /// Where the client random lies in a library's TLS object.
    pub struct Layout {
        /// 0 unknown, 1 known.
        pub known: u32,
        /// Failed searches so far.
        pub tries: u32,
        /// Offset of the pointer to follow first, [`NO_POINTER`] for none, bytes.
        pub pointer: u32,
        /// Offset of the random, bytes.
        pub random: u32,
    }

    /// Hits of one probed file, per CPU.
    pub struct Hits {
        /// Calls of a probed function.
        pub total: u64,
        /// Of these, on connections to model endpoints (or undecided ones that carry a request).
        pub model: u64,
    }

    /// A TLS function call under way, by thread.
    pub struct Call {
        /// TLS object.
        pub object: u64,
        /// Caller's buffer.
        pub buffer: u64,
        /// Where the `_ex` functions store the byte count, else 0.
        pub count: u64,
        /// Stack pointer at entry, to tell nested and abandoned calls apart.
        pub stack: u64,
        /// One of [`direction`].
        pub direction: u32,
        /// Index of the probed file.
        pub target: u32,
    }

    /// Plaintext of one read or write, or a part of it.
    pub struct Data {
        /// Common part; `data_len` bytes follow.
        pub header: Header,
        /// Who called the function.
        pub task: Task,
        /// The connection.
        pub connection: Handle,
        /// TLS object address.
        pub object: u64,
        /// Socket cookie, 0 when unbound.
        pub cookie: u64,
        /// One of [`handle`].
        pub handle: u32,
        /// One of [`direction`].
        pub direction: u32,
        /// Index of the probed file.
        pub target: u32,
        /// Padding.
        pub pad: u32,
        /// Plaintext bytes of this direction that the client side moved before this part. A jump shows
        /// what was lost or not copied.
        pub position: u64,
    }
}

/// Largest TLS record as an AEAD sees it: plaintext and, in TLS 1.3, its inner type (RFC 8446 5.2), bytes.
pub const MAX_SEALED: usize = 16384 + 1;
/// Authentication tag behind the ciphertext, bytes.
pub const TAG: usize = 16;

layout! {
    /// A record that was encrypted and not yet seen on the wire.
    pub struct Sealed {
        /// Who encrypted it.
        pub task: Task,
        /// Which key did.
        pub key: AeadKey,
        /// Where the ciphertext is put.
        pub output: u64,
        /// Stack pointer at the encrypting function; for a record in pieces, when it began.
        pub stack: u64,
        /// Index of the probed file.
        pub target: u32,
        /// Plaintext bytes.
        pub len: u32,
        /// One of [`form`].
        pub form: u16,
        /// One of [`content`].
        pub content: u16,
        /// Padding.
        pub pad: u32,
        /// Plaintext.
        pub data: [u8; MAX_CHUNK],
    }

    /// A record that is being decrypted.
    pub struct Opening {
        /// The connection.
        pub bound: AeadBound,
        /// Where the plaintext is put.
        pub output: u64,
        /// Stack pointer at the decrypting function; for a record in pieces, when it began.
        pub stack: u64,
        /// Index of the probed file.
        pub target: u32,
        /// Plaintext bytes, with the inner type if there is one.
        pub len: u32,
    }

    /// A record that a thread encrypts or decrypts in pieces.
    pub struct Pieces {
        /// Address of the hash key; 0 when the record is complete but for its tag.
        pub hash_key: u64,
        /// When it began, nanoseconds since boot: no two records of a thread are the same.
        pub began: u64,
        /// Where the last block, decrypted, is put; 0 before.
        pub output: u64,
        /// Plaintext bytes, with the inner type if there is one.
        pub len: u32,
        /// One of [`form`].
        pub form: u16,
        /// One of [`content`].
        pub content: u16,
        /// 1 when `block` is the ciphertext of the last block, which was hashed before it was encrypted or decrypted.
        pub hashed: u32,
        /// Padding.
        pub pad: u32,
        /// The last block if it is incomplete, filled with zeros.
        pub block: [u64; 2],
    }

    /// Key of one direction of a TLS connection in one process. The address alone may be used again.
    pub struct AeadKey {
        /// Address of the key schedule, or of the hash key for a record in pieces; half of the key, mixed to 64 bits,
        /// where each call has a copy of it.
        pub address: u64,
        /// Its beginning, or the other half, and the process, mixed to 64 bits.
        pub mark: u64,
    }

    /// Connection of an [`AeadKey`].
    pub struct AeadBound {
        /// Its client random.
        pub random: Handle,
        /// [`AeadKey::address`] of the client's sending key, which stands for the TLS object.
        pub object: u64,
        /// Process.
        pub tgid: u32,
        /// One of [`form`].
        pub form: u16,
        /// One of [`content`]: of the record that is meant.
        pub content: u16,
    }
}

/// [`Layout::pointer`] when the random lies in the object itself.
pub const NO_POINTER: u32 = u32::MAX;
/// Bytes of a [`Data`] event before its plaintext.
pub const DATA_FIXED: usize = core::mem::size_of::<Data>();
