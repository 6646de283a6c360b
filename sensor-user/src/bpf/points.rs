//! Kinds of attach points that the sensor does without, and whether the kernel has them.

use std::path::Path;

use aya::{
    programs::{LsmAttachType, ProgramType},
    sys::is_program_supported,
};

/// Where the kernel shows that perf events can be kernel probes (Documentation/ABI/testing/sysfs-bus-event_source).
const KPROBE: &str = "/sys/bus/event_source/devices/kprobe";

/// A kind of attach point, and whether a program can be attached there.
pub type Offer = (&'static str, bool);

/// What the kernel offers besides the points in [`super::hooks::HOOKS`]. Loads a trivial program for each.
pub fn unused() -> [Offer; 3] {
    let works = |kind| matches!(is_program_supported(kind), Ok(true));
    [
        ("lsm", works(ProgramType::Lsm(LsmAttachType::Mac))),
        ("fentry", works(ProgramType::Tracing)),
        ("kprobe", Path::new(KPROBE).is_dir()),
    ]
}
