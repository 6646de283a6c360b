//! Processes: fork, exec, exit.
//!
//! Hook: raw tracepoints `sched_process_{fork,exec,exit}` (since 4.17). They pass the task structures
//! themselves, so a process is named by tgid and start time in the moment it is made: no pid can be
//! re-used between the act and the look. Missed: what ran before the sensor (read from /proc at start).

use aya_ebpf::{
    helpers::{bpf_probe_read_kernel_str_bytes, bpf_probe_read_user_buf},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use aya_log_ebpf::info;
use sensor_common::{
    kind,
    process::{Exec, Exit, Fork, MAX_ARGS},
};

use crate::{
    emit::{self, Urgency},
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
    let Some(mut entry) = emit::reserve::<Exec>(kind::EXEC) else { return 0 };
    let event = entry.as_mut_ptr();
    let (exe_dev, exe_ino) = binprm.binprm_file();
    let (args_start, args_end) = task.arguments();
    let args_total = args_end.saturating_sub(args_start) as u32;
    // SAFETY: `event` is memory of the reserved entry, written field by field before submit; user and
    // kernel addresses are read by the fault-safe helpers only.
    unsafe {
        (*event).header = emit::header(kind::EXEC, 0);
        (*event).task = offsets::current_task();
        (*event).parent = task.parent().generation();
        (*event).exe_dev = exe_dev;
        (*event).exe_ino = exe_ino;
        (*event).args_total = args_total;
        (*event).pad = 0;
        (*event).path_len =
            match bpf_probe_read_kernel_str_bytes(binprm.binprm_path() as *const u8, &mut (*event).path) {
                Ok(path) => path.len() as u32,
                Err(_) => 0,
            };
        let wanted = (args_total as usize).min(MAX_ARGS);
        (*event).args_len = match (*event).args.get_mut(..wanted) {
            Some(room) if !room.is_empty() => {
                match bpf_probe_read_user_buf(args_start as *const u8, room) {
                    Ok(()) => wanted as u32,
                    Err(_) => {
                        // The event itself is delivered; only its arguments are missing.
                        0
                    }
                }
            }
            _ => 0,
        };
    }
    emit::submit(entry, Urgency::Now);
    if offsets::kernel_log() {
        info!(&ctx, "exec: inode {} on device {}", exe_ino, exe_dev);
    }
    0
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
