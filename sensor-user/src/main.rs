//! `keywitness`.

/// Wipes memory when it is given back: keys, prompts and answers pass through many buffers, of this program
/// and of its libraries, and none of them may leave a trace in the heap or in a core dump.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> std::process::ExitCode {
    sensor_user::cli::main()
}
