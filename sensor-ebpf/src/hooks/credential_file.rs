//! Who opens a file that may hold credentials.
//!
//! Hook: fentry of `security_file_open` (BPF trampolines since 5.5 on x86-64, 6.4 on arm64): the file the
//! kernel opens, whatever path, system call or ring it came by, after permissions were checked. Where the
//! kernel allows no fentry, user space puts fanotify marks on the files it knows instead: tracing the end of
//! system calls would cost every call on the host (a quarter of an open and close where it was measured).
//! Missed: descriptors that are passed on or inherited, and files that were open before the sensor.
//!
//! Which files: those whose name, device and inode, or device is in a table that user space fills. An open
//! of anything else ends at a look into bit sets.

use aya_ebpf::{
    helpers::{bpf_probe_read_kernel_buf, bpf_probe_read_kernel_str_bytes},
    macros::fentry,
    programs::FEntryContext,
};
use sensor_common::{
    credential_file::{
        DEVICE_WORDS, File, INODE_WORDS, MAX_NAME, Name, Open, PREFIX, SUFFIX, head, mode,
        name_bit,
    },
    kind,
};

use crate::{
    emit::{self, Urgency},
    maps::{WATCH_DEVICES, WATCH_FILES, WATCH_FILTER, WATCH_FOLDERS, WATCH_NAMES},
    offsets::{self, Dentry, Kernel},
};

/// `FMODE_READ`, `FMODE_WRITE`, `FMODE_PATH` (include/linux/fs.h).
const FMODE_READ: u32 = 1;
const FMODE_WRITE: u32 = 2;
const FMODE_PATH: u32 = 0x4000;
/// `S_IFMT` and `S_IFDIR` (include/uapi/linux/stat.h).
const FILE_TYPE: u16 = 0o170_000;
const FOLDER: u16 = 0o040_000;
const PREFIX_MASK: u64 = (1 << (8 * PREFIX.len())) - 1;
const SUFFIX_SHIFT: usize = 8 * (8 - SUFFIX.len());

// match-proto: int security_file_open(struct file *file)
#[fentry(function = "security_file_open")]
fn kw_file_open(ctx: FEntryContext) -> i32 {
    opened(Kernel::from_argument::<u8>(ctx.arg(0)));
    0
}

#[inline(always)]
fn opened(file: Kernel) {
    let Some(filter) = WATCH_FILTER.get(0) else { return };
    let dentry = file.file_dentry().dentry();
    let inode = dentry.inode();
    let number = inode.inode_number();
    let known_inode = filter.inodes[number as usize / 64 % INODE_WORDS] >> (number % 64) & 1 == 1;
    let device = inode.inode_device();
    let known_device = filter.devices[device as usize / 64 % DEVICE_WORDS] >> (device % 64) & 1 == 1;
    let watched = is_watched_name(&filter.names, dentry)
        || (known_inode && is_watched_file(File { device, inode: number }))
        // SAFETY: a shared read of a map value.
        || (known_device && unsafe { WATCH_DEVICES.get(&device) }.is_some());
    if watched {
        tell(file, dentry, File { device, inode: number });
    }
}

#[inline(always)]
fn is_watched_file(file: File) -> bool {
    // SAFETY: a shared read of a map value.
    unsafe { WATCH_FILES.get(&file) }.is_some()
}

#[inline(always)]
fn is_watched_name(names: &[u64], dentry: Dentry) -> bool {
    let len = dentry.len();
    let first = word(dentry.name);
    let start = if len >= 8 { first } else { first & ((1 << (8 * (len & 7))) - 1) };
    if start & PREFIX_MASK == head(&PREFIX) {
        return true;
    }
    let bit = name_bit(len, start);
    if names.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1) {
        // SAFETY: a shared read of a map value.
        if name(dentry).is_some_and(|name| unsafe { WATCH_NAMES.get(&name) }.is_some()) {
            return true;
        }
    }
    let is_json = len >= 8
        && word(dentry.name.wrapping_add(u64::from(len) - 8)) >> SUFFIX_SHIFT == head(&SUFFIX);
    // SAFETY: a shared read of a map value.
    is_json && name(dentry.folder().dentry()).is_some_and(|name| unsafe { WATCH_FOLDERS.get(&name) }.is_some())
}

/// Eight bytes of kernel memory.
#[inline(always)]
fn word(address: u64) -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: the helper checks the address and fails without a fault.
    let read = unsafe { bpf_probe_read_kernel_buf(address as *const u8, &mut bytes) };
    if read.is_ok() { u64::from_le_bytes(bytes) } else { 0 }
}

/// The name of a dentry; nothing when it is too long to be watched.
#[inline(always)]
fn name(dentry: Dentry) -> Option<Name> {
    let len = dentry.len() as usize;
    if len == 0 || len >= MAX_NAME {
        return None;
    }
    let mut name = Name { bytes: [0; MAX_NAME] };
    // SAFETY: the helper checks the address and fails without a fault; it stops at the final NUL.
    unsafe { bpf_probe_read_kernel_str_bytes(dentry.name as *const u8, &mut name.bytes) }.ok()?;
    Some(name)
}

#[inline(never)]
fn tell(file: Kernel, dentry: Dentry, id: File) {
    let opened = file.file_mode();
    if opened & FMODE_PATH != 0 || dentry.inode().inode_mode() & FILE_TYPE == FOLDER {
        return; // no content is reached
    }
    let Some(mut entry) = emit::reserve::<Open>(kind::CREDENTIAL_FILE) else { return };
    let event = entry.as_mut_ptr();
    // SAFETY: `event` is memory of the reserved entry, written field by field before submit; kernel
    // addresses are read by the fault-safe helpers only.
    unsafe {
        (*event).header = emit::header(kind::CREDENTIAL_FILE, 0);
        (*event).task = offsets::current_task();
        (*event).file = id;
        (*event).mode = (opened & FMODE_READ) * mode::READ | (opened & FMODE_WRITE) / FMODE_WRITE * mode::WRITE;
        let (mut at, mut components, mut cut) = (dentry, 0, 1);
        for component in &mut (*event).path {
            // Of names that are too long the beginning is told.
            let _ = bpf_probe_read_kernel_str_bytes(at.name as *const u8, &mut component.bytes);
            components += 1;
            let folder = at.folder();
            at = folder.dentry();
            if at.parent == folder.address() {
                cut = 0;
                break;
            }
        }
        (*event).pad = 0;
        (*event).components = components;
        (*event).cut = cut;
    }
    emit::submit(entry, Urgency::Now);
}
