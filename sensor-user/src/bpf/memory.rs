//! What the heap keeps of memory that was given back.

/// Size of a block from which it comes from the kernel and goes back to it, and of free memory at the heap's end
/// that is kept, bytes.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: libc::c_int = 256 << 10;

/// Lets large blocks go back to the kernel for as long as the process lives.
///
/// Reading the kernel's type information and programs takes tens of MiB for a moment. glibc learns from the first
/// large block given back that such blocks belong into the heap (mallopt(3), "dynamic mmap threshold"), where a few
/// small ones above them then hold all of it: 25 MiB that a sensor at rest does not need.
pub fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: sets two numbers of the allocator; it takes its own lock.
        let set = unsafe { libc::mallopt(parameter, KEPT_BYTES) };
        debug_assert_eq!(set, 1, "both parameters exist and the value is in range");
    }
}
