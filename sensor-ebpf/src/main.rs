//! The kernel programs. One file per hook family; `maps` holds every table, `emit` is the only code
//! that writes events, `offsets` the only code that reads kernel structures.
//!
//! Every program is passive: it returns the value that lets the kernel go on, whatever happens inside.
#![no_std]
#![no_main]
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value would be a copy on a stack of 512 bytes"
)]

mod emit;
mod flows;
mod hooks;
mod maps;
mod offsets;
mod scope;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // The verifier refuses an endless loop, so a program that could reach this never loads.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
