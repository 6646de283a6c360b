//! Processes: fork, exec, exit.
//!
//! Hook: raw tracepoints `sched_process_{fork,exec,exit}` (since 4.17). They pass the task structures
//! themselves, so a process is named by tgid and start time in the moment it is made: no pid can be
//! re-used between the act and the look. Missed: what ran before the sensor (read from /proc at start).

use core::ptr::addr_of_mut;

use aya_ebpf::{
    helpers::{bpf_probe_read_kernel_str_bytes, bpf_probe_read_user_buf},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use aya_log_ebpf::info;
use sensor_common::{
    kind,
    process::{ARGS_SIZES, Exec, Exit, Fork},
};

use crate::{
    emit::{self, Event, Urgency},
    offsets::{self, Kernel},
};

// match-proto: trace_sched_process_fork(struct task_struct *parent, struct task_struct *child)
#[raw_tracepoint(tracepoint = "sched_process_fork")]
fn kw_fork(ctx: RawTracePointContext) -> i32 {
    let parent = Kernel::from_argument::<u8>(ctx.arg(0));
    let child = Kernel::from_argument::<u8>(ctx.arg(1));
    if !child.is_leader() {
        return 0; // a thread
    }
    if let Some(mut entry) = emit::reserve::<Fork>(kind::FORK) {
        entry.write(Fork {
            header: emit::header(kind::FORK, 0),
            parent: parent.generation(),
            child: child.generation(),
        });
        emit::submit(entry, Urgency::Tick);
    }
    0
}

// match-proto: trace_sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)
#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn kw_exec(ctx: RawTracePointContext) -> i32 {
    let task = Kernel::from_argument::<u8>(ctx.arg(0));
    let binprm = Kernel::from_argument::<u8>(ctx.arg(2));
    let (args_start, args_end) = task.arguments();
    let args_total = args_end.saturating_sub(args_start) as u32;
    let exec = Started { task, binprm, args_start, args_total };
    if args_total as usize <= ARGS_SIZES[0] {
        exec.send::<{ ARGS_SIZES[0] }>();
    } else if args_total as usize <= ARGS_SIZES[1] {
        exec.send::<{ ARGS_SIZES[1] }>();
    } else {
        exec.send::<{ ARGS_SIZES[2] }>();
    }
    if offsets::kernel_log() {
        let (device, inode) = binprm.binprm_file();
        info!(&ctx, "exec: inode {} on device {}", inode, device);
    }
    0
}

/// A new program that a process runs.
struct Started {
    task: Kernel,
    binprm: Kernel,
    args_start: u64,
    args_total: u32,
}

impl Started {
    #[inline(always)]
    fn send<const N: usize>(&self) {
        let Some(mut entry) = emit::reserve::<Event<Exec, N>>(kind::EXEC) else { return };
        let event = entry.as_mut_ptr();
        let (exe_dev, exe_ino) = self.binprm.binprm_file();
        let total = self.args_total as usize;
        let take = core::hint::black_box(if total < N { total } else { N });
        // SAFETY: `event` is memory of the reserved entry, written field by field before submit; user and
        // kernel addresses are read by the fault-safe helpers only.
        unsafe {
            // Without its arguments the event is worth telling, too.
            let copied = match (*event).bytes.get_mut(..take) {
                Some(room) if !room.is_empty() => {
                    bpf_probe_read_user_buf(self.args_start as *const u8, room).is_ok()
                }
                _ => false,
            };
            let fixed = addr_of_mut!((*event).fixed);
            (*fixed).header = emit::header(kind::EXEC, if copied { take as u32 } else { 0 });
            (*fixed).task = offsets::current_task();
            (*fixed).parent = self.task.parent().generation();
            (*fixed).exe_dev = exe_dev;
            (*fixed).exe_ino = exe_ino;
            (*fixed).args_total = self.args_total;
            let path = self.binprm.binprm_path() as *const u8;
            (*fixed).path_len = match bpf_probe_read_kernel_str_bytes(path, &mut (*fixed).path) {
                Ok(path) => path.len() as u32,
                Err(_) => 0,
            };
        }
        emit::submit(entry, Urgency::Now);
    }
}

// match-proto: trace_sched_process_exit(struct task_struct *p) and, from 6.16, (…, bool group_dead)
#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn kw_exit(ctx: RawTracePointContext) -> i32 {
    let task = Kernel::from_argument::<u8>(ctx.arg(0));
    if task.live_threads() != 0 {
        return 0;
    }
    if let Some(mut entry) = emit::reserve::<Exit>(kind::EXIT) {
        entry.write(Exit { header: emit::header(kind::EXIT, 0), process: task.generation() });
        emit::submit(entry, Urgency::Tick);
    }
    0
}
