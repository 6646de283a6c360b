//! Whether the current task is watched, for programs that are called by tasks of all cgroups. Programs of the cgroup
//! hooks are attached to the watched part of the tree and need not ask.

use aya_ebpf::{Global, helpers::generated::bpf_get_current_ancestor_cgroup_id};

/// Id of the cgroup that is watched with all below it, and cgroups above it; 0 watches all.
#[unsafe(no_mangle)]
static SCOPE_ID: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static SCOPE_LEVEL: Global<u32> = Global::new(0);

/// Whether the current task is below the watched cgroup. The globals are frozen: where all is watched, the verifier
/// removes the call.
#[inline(always)]
pub fn has_current() -> bool {
    let id = SCOPE_ID.load();
    if id == 0 {
        return true;
    }
    // SAFETY: the helper has no precondition; a level that the task's cgroup has not gives 0.
    unsafe { bpf_get_current_ancestor_cgroup_id(SCOPE_LEVEL.load() as i32) == id }
}
