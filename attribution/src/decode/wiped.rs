//! Buffers that leave nothing behind.

use zeroize::Zeroizing;

/// First allocation, in bytes; most heads and messages fit.
const FIRST_CAPACITY: usize = 4 * 1024;

/// Adds `bytes`. When the buffer grows, its old memory is wiped, which `Vec` would not do.
pub(super) fn append(buffer: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    let needed = buffer.len() + bytes.len();
    if needed > buffer.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two().max(FIRST_CAPACITY)));
        larger.extend_from_slice(buffer);
        *buffer = larger;
    }
    buffer.extend_from_slice(bytes);
}
