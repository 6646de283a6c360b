//! The only code that reads kernel structures. Offsets come from the running kernel's BTF: user
//! space writes them into these frozen globals before load, so one object serves every kernel.

use core::ptr::read_volatile;

use aya_ebpf::{
    Global,
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        bpf_probe_read_kernel,
        generated::{bpf_get_current_task, bpf_get_current_task_btf},
    },
};
use sensor_common::{Generation, Task};

macro_rules! globals {
    ($($name:ident),* $(,)?) => {$(
        #[unsafe(no_mangle)]
        static $name: Global<u32> = Global::new(0);
    )*};
}

globals!(
    OFF_TASK_START,
    OFF_TASK_LEADER,
    OFF_TASK_PARENT,
    OFF_TASK_TGID,
    OFF_TASK_PID,
    OFF_TASK_SIGNAL,
    OFF_SIGNAL_LIVE,
    OFF_TASK_MM,
    OFF_MM_ARG_START,
    OFF_MM_ARG_END,
    OFF_BPRM_FILE,
    OFF_BPRM_INTERP,
    OFF_FILE_INODE,
    OFF_INODE_INO,
    OFF_INODE_SB,
    OFF_SB_DEV,
    OFF_SOCK_COOKIE,
    OFF_TCP_SENT,
    OFF_TCP_RETRANS,
    OFF_TCP_RECEIVED,
    OFF_TASK_FILES,
    OFF_FILES_TABLE,
    OFF_TABLE_SIZE,
    OFF_TABLE_FILES,
    OFF_FILE_PRIVATE,
    OFF_SOCKET_FILE,
    OFF_SOCKET_SOCK,
    TYPED_TASK,
    MAX_PARTS,
    KERNEL_LOG,
);

/// Whether kernel-side diagnostics are on. A frozen constant, so the verifier removes the branch.
#[inline(always)]
pub fn kernel_log() -> bool {
    KERNEL_LOG.load() != 0
}

/// Most parts that the plaintext of one call is sent in.
#[inline(always)]
pub fn max_parts() -> u32 {
    MAX_PARTS.load()
}

/// A pointer into kernel memory that is only ever read through the fault-safe helper.
#[derive(Clone, Copy)]
pub struct Kernel(u64);

impl Kernel {
    #[inline(always)]
    fn read<T>(self, offset: &Global<u32>) -> T
    where
        T: Copy + Default,
    {
        let address = self.0.wrapping_add(u64::from(offset.load()));
        // SAFETY: the helper checks the address and fails without a fault.
        unsafe { bpf_probe_read_kernel(address as *const T) }.unwrap_or_default()
    }

    #[inline(always)]
    fn follow(self, offset: &Global<u32>) -> Self {
        Self(self.read::<u64>(offset))
    }

    /// A pointer that a tracepoint passed as an argument.
    #[inline(always)]
    pub fn from_argument<T>(pointer: *const T) -> Self {
        Self(pointer as u64)
    }

    /// The process that this `task_struct` belongs to.
    #[inline(always)]
    pub fn generation(self) -> Generation {
        let leader = self.follow(&OFF_TASK_LEADER);
        Generation { tgid: self.read(&OFF_TASK_TGID), pad: 0, start_ns: leader.read(&OFF_TASK_START) }
    }

    /// The parent's `task_struct`.
    #[inline(always)]
    pub fn parent(self) -> Self {
        self.follow(&OFF_TASK_PARENT)
    }

    /// Whether this `task_struct` is the first thread of its process.
    #[inline(always)]
    pub fn is_leader(self) -> bool {
        self.read::<u32>(&OFF_TASK_PID) == self.read::<u32>(&OFF_TASK_TGID)
    }

    /// Threads of the process that have not begun to exit (`signal_struct.live`).
    #[inline(always)]
    pub fn live_threads(self) -> u32 {
        self.follow(&OFF_TASK_SIGNAL).read(&OFF_SIGNAL_LIVE)
    }

    /// First and last address of the arguments in user memory (`mm_struct`).
    #[inline(always)]
    pub fn arguments(self) -> (u64, u64) {
        let mm = self.follow(&OFF_TASK_MM);
        (mm.read(&OFF_MM_ARG_START), mm.read(&OFF_MM_ARG_END))
    }

    /// Cookie of a `struct sock`, 0 when it was never asked for.
    #[inline(always)]
    pub fn socket_cookie(self) -> u64 {
        self.read(&OFF_SOCK_COOKIE)
    }

    /// Payload bytes that a `struct tcp_sock` sent (each once) and received.
    #[inline(always)]
    pub fn tcp_bytes(self) -> (u64, u64) {
        let sent: u64 = self.read(&OFF_TCP_SENT);
        let again: u64 = self.read(&OFF_TCP_RETRANS);
        (sent.wrapping_sub(again), self.read(&OFF_TCP_RECEIVED))
    }

    /// Address of the interpreter path of a `struct linux_binprm`, which for a program that is not a
    /// script is the program's own path.
    #[inline(always)]
    pub fn binprm_path(self) -> u64 {
        self.read(&OFF_BPRM_INTERP)
    }

    /// Device and inode of the file of a `struct linux_binprm`.
    #[inline(always)]
    pub fn binprm_file(self) -> (u64, u64) {
        let inode = self.follow(&OFF_BPRM_FILE).follow(&OFF_FILE_INODE);
        let device: u32 = inode.follow(&OFF_INODE_SB).read(&OFF_SB_DEV);
        (u64::from(device), inode.read(&OFF_INODE_INO))
    }
}

/// Cookie of the socket that the running process has open as `descriptor`; 0 when that is no socket.
#[inline(always)]
pub fn descriptor_cookie(descriptor: u32) -> u64 {
    // SAFETY: the helper has no preconditions.
    let task = Kernel(unsafe { bpf_get_current_task() });
    let table = task.follow(&OFF_TASK_FILES).follow(&OFF_FILES_TABLE);
    if descriptor >= table.read::<u32>(&OFF_TABLE_SIZE) {
        return 0;
    }
    let slot = table.follow(&OFF_TABLE_FILES).0.wrapping_add(u64::from(descriptor) * 8);
    // SAFETY: the helper checks the address and fails without a fault.
    let file = Kernel(unsafe { bpf_probe_read_kernel(slot as *const u64) }.unwrap_or(0));
    let socket = file.follow(&OFF_FILE_PRIVATE);
    // Other files have other things there; a socket points back to its file.
    if file.0 == 0 || socket.read::<u64>(&OFF_SOCKET_FILE) != file.0 {
        return 0;
    }
    socket.follow(&OFF_SOCKET_SOCK).socket_cookie()
}

/// Start of the running process. Read through typed pointers: the verifier checks both members against
/// the kernel's types, and each costs one load instead of a helper call. Older kernels have no such pointers (5.11 for
/// probes, later for sockets); for them the setting makes the verifier drop this branch unseen.
#[inline(always)]
fn current_start() -> u64 {
    if TYPED_TASK.load() == 0 {
        // SAFETY: the helper has no preconditions; the address is only read through the fault-safe helper.
        return Kernel(unsafe { bpf_get_current_task() }).follow(&OFF_TASK_LEADER).read(&OFF_TASK_START);
    }
    // SAFETY: the helper returns the running task, which stays; its leader stays as long as it does. The
    // verifier accepts only offsets at which the kernel has members of these types.
    unsafe {
        let task = bpf_get_current_task_btf() as *const u8;
        let leader = read_volatile(task.add(OFF_TASK_LEADER.load() as usize).cast::<*const u8>());
        read_volatile(leader.add(OFF_TASK_START.load() as usize).cast::<u64>())
    }
}

/// The running process and thread, without the thread's name (which costs as much as all the rest).
#[inline(always)]
pub fn current_task_unnamed() -> Task {
    let ids = bpf_get_current_pid_tgid();
    // SAFETY: the helpers have no preconditions.
    let cgroup_id = unsafe { bpf_get_current_cgroup_id() };
    Task {
        process: Generation { tgid: (ids >> 32) as u32, pad: 0, start_ns: current_start() },
        cgroup_id,
        uid: bpf_get_current_uid_gid() as u32,
        tid: ids as u32,
        comm: [0; 16],
    }
}

/// The running process and thread.
#[inline(always)]
pub fn current_task() -> Task {
    Task { comm: bpf_get_current_comm().unwrap_or_default(), ..current_task_unnamed() }
}
