//! Loads the kernel object and attaches everything that does not depend on a file.

use std::{
    fs::File,
    path::PathBuf,
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, Program, ProgramError, ProgramType,
        RawTracePoint, UProbe,
    },
    sys::{BpfHelper, is_helper_supported},
    util::KernelVersion,
};
use aya_log::EbpfLogger;
use sensor_common::{setting, tls::MAX_CHUNKS};
use thiserror::Error;

use super::{
    btf::BtfError,
    hooks::{HOOKS, Hook, Point},
    offsets,
    subtree::Subtree,
};
use crate::credential::Marks;

/// Why a hook is missing that the user left out.
const SWITCHED_OFF: &str = "switched off in the configuration";

/// The oldest kernel whose verifier was seen to follow every part (docs/kernels.md), and the parts on older ones: 64 KiB
/// of one call; what is longer is counted as lost.
const PATIENT_SINCE: KernelVersion = KernelVersion::new(6, 12, 0);
const OLD_MAX_PARTS: u32 = 4;
/// Lines of the verifier's complaint that a reason has.
const MAX_REASON_LINES: usize = 4;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/keywitness.bpf.o"));

/// Why the sensor cannot start.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Built without the kernel object.
    #[error("this build has no kernel programs in it; build with `cargo xtask build`")]
    NoObject,
    /// Not allowed.
    #[error(
        "loading BPF programs needs root (or CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_SYS_ADMIN); run with sudo"
    )]
    NotPermitted,
    /// No type information.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// No unified hierarchy.
    #[error(
        "no cgroup v2 hierarchy is mounted; mount one, for example `mount -t cgroup2 none /sys/fs/cgroup/unified`"
    )]
    NoCgroup2,
    /// The cgroup that is watched cannot be opened.
    #[error("cannot open cgroup {path}: {source}")]
    Cgroup {
        /// Directory.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The object does not load.
    #[error("the kernel refused the object: {0}")]
    Object(#[from] aya::EbpfError),
    /// Kernel-side diagnostics were asked for and cannot be read.
    #[error("kernel-side diagnostics cannot be read: {0}; run without --kernel-log")]
    Log(#[source] aya_log::Error),
    /// A required hook is missing.
    #[error("required hook {program} ({family}) cannot be used: {reason}; see `keywitness doctor`")]
    Hook {
        /// Program.
        program: &'static str,
        /// Family.
        family: &'static str,
        /// Cause.
        reason: String,
    },
}

/// What became of one row of [`HOOKS`].
#[derive(Debug, Clone)]
pub struct AttachState {
    /// The row.
    pub hook: &'static Hook,
    /// `None` when it is in place, else why not.
    pub failure: Option<String>,
    /// What loading it cost; `None` for a hook without a program.
    pub cost: Option<LoadCost>,
}

/// What the kernel did to accept a program.
#[derive(Debug, Clone, Copy)]
pub struct LoadCost {
    /// Time of loading and attaching.
    pub time: Duration,
    /// Instructions that the verifier went through; kernels before 5.16 do not tell.
    pub verified: Option<u32>,
}

/// The loaded object with all links that live as long as the sensor.
pub struct Loaded {
    /// Programs, links and tables.
    pub ebpf: Ebpf,
    /// One entry for each row of [`HOOKS`].
    pub states: Vec<AttachState>,
    log: Option<EbpfLogger<&'static dyn log::Log>>,
}

/// Root of the cgroup v2 hierarchy.
pub fn cgroup_root() -> Result<PathBuf, LoadError> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_, path, kind) = (fields.next()?, fields.next()?, fields.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(path.replace("\\040", " ")))
        })
        .min_by_key(|path| path.as_os_str().len())
        .ok_or(LoadError::NoCgroup2)
}

impl Loaded {
    /// Loads every program and attaches all but the TLS probes. `ring_bytes` is the size of the event
    /// buffer (a power of two of at least one page); hooks in `disabled` are left out; calls of processes outside
    /// `watched` are not seen.
    pub fn load(
        ring_bytes: u32,
        kernel_log: bool,
        disabled: &[String],
        watched: &Subtree,
    ) -> Result<Self, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        if !nix::unistd::geteuid().is_root() {
            return Err(LoadError::NotPermitted);
        }
        let offsets = offsets::of_kernel()?;
        let with_log = u32::from(kernel_log);
        let (typed, parts) = (u32::from(has_typed_task()), max_parts());
        let mut loader = EbpfLoader::new();
        loader
            .btf(None)
            .map_max_entries("EVENTS", ring_bytes)
            .override_global(setting::KERNEL_LOG, &with_log, true)
            .override_global(setting::TYPED_TASK, &typed, true)
            .override_global(setting::SCOPE_ID, &watched.id, true)
            .override_global(setting::SCOPE_LEVEL, &watched.level, true)
            .override_global(setting::MAX_PARTS, &parts, true)
            .verifier_log_level(if wants_listing() {
                VerifierLogLevel::VERBOSE | VerifierLogLevel::STATS
            } else {
                VerifierLogLevel::STATS
            });
        for (name, bytes) in &offsets {
            loader.override_global(name, bytes, true);
        }
        let mut ebpf = loader.load(OBJECT)?;
        let log = match kernel_log {
            true => Some(EbpfLogger::init(&mut ebpf).map_err(LoadError::Log)?),
            false => None,
        };

        let mut states = Vec::with_capacity(HOOKS.len());
        for hook in HOOKS {
            let begun = Instant::now();
            let failure = match disabled.iter().any(|name| name == hook.program) {
                true => Some(SWITCHED_OFF.to_owned()),
                false => attach(&mut ebpf, hook, &watched.folder).err(),
            };
            if let (true, Some(reason)) = (hook.required, &failure) {
                return Err(LoadError::Hook {
                    program: hook.program,
                    family: hook.family,
                    reason: reason.clone(),
                });
            }
            if let Some(reason) = &failure {
                tracing::warn!(hook = hook.program, %reason, lost = hook.lost, "hook not available");
            }
            let cost = match &failure {
                None => cost(&ebpf, hook, begun.elapsed()),
                Some(_) => None,
            };
            states.push(AttachState { hook, failure, cost });
        }
        Ok(Self { ebpf, states, log })
    }
}

/// What the kernel counted of one program, where its statistics are on (sysctl `kernel.bpf_stats_enabled`).
#[derive(Debug, Clone)]
pub struct RunTime {
    /// Name of the program.
    pub program: String,
    /// Time in it.
    pub time: Duration,
    /// Runs of it.
    pub runs: u64,
}

impl Loaded {
    /// Programs that the kernel has counted runs of.
    pub fn run_times(&self) -> Vec<RunTime> {
        let counted = |(name, program): (&str, &Program)| {
            let info = program.info().ok().filter(|info| info.run_count() > 0)?;
            Some(RunTime { program: name.to_owned(), time: info.run_time(), runs: info.run_count() })
        };
        self.ebpf.programs().filter_map(counted).collect()
    }

    /// Whether the hook of this name is in place.
    pub fn works(&self, program: &str) -> bool {
        self.states.iter().any(|state| state.hook.program == program && state.failure.is_none())
    }

    /// Hands what the programs logged to the `log` crate's logger.
    pub fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    /// Takes every program out of the kernel. Tables that were taken out before stay readable.
    pub fn detach(&mut self) {
        // Unloading drops the links first.
        for (_, program) in self.ebpf.programs_mut() {
            let result = match program {
                Program::RawTracePoint(program) => program.unload(),
                Program::CgroupSockAddr(program) => program.unload(),
                Program::CgroupSkb(program) => program.unload(),
                Program::UProbe(program) => program.unload(),
                _ => Ok(()),
            };
            if let Err(error) = result {
                tracing::debug!(%error, "a program was not loaded");
            }
        }
    }
}

/// Whether the programs that need it may ask for the running task as a typed pointer.
fn has_typed_task() -> bool {
    // The connect hooks were the last to get it.
    let kind = ProgramType::CgroupSockAddr;
    matches!(is_helper_supported(kind, BpfHelper::BPF_FUNC_get_current_task_btf), Ok(true))
}

/// Most parts of one call's plaintext that the kernel's verifier follows within its limit of instructions. Where the
/// version cannot be told it is taken for an old one.
fn max_parts() -> u32 {
    match KernelVersion::current() {
        Ok(version) if version >= PATIENT_SINCE => MAX_CHUNKS,
        _ => OLD_MAX_PARTS,
    }
}

fn cost(ebpf: &Ebpf, hook: &Hook, time: Duration) -> Option<LoadCost> {
    let info = ebpf.program(hook.program)?.info().ok()?;
    Some(LoadCost { time, verified: info.verified_instruction_count() })
}

fn attach(ebpf: &mut Ebpf, hook: &Hook, cgroup: &File) -> Result<(), String> {
    if hook.point == Point::Fanotify {
        // The marks themselves are made where files are known.
        return Marks::new().map(drop).map_err(|error| error.to_string());
    }
    let program = ebpf.program_mut(hook.program).ok_or("the kernel object has no such program")?;
    attach_program(program, hook.point, cgroup).map_err(|error| chain(&error))
}

fn attach_program(program: &mut Program, point: Point, cgroup: &File) -> Result<(), ProgramError> {
    // A link of the kernel's multi kind; `AllowMultiple` is for the older attach call only.
    let mode = CgroupAttachMode::Single;
    match point {
        Point::RawTracepoint(name) => {
            let program: &mut RawTracePoint = program.try_into()?;
            program.load()?;
            program.attach(name)?;
        }
        Point::CgroupSockAddr => {
            let program: &mut CgroupSockAddr = program.try_into()?;
            program.load()?;
            program.attach(cgroup, mode)?;
        }
        Point::Egress | Point::Ingress => {
            let direction = if point == Point::Egress {
                CgroupSkbAttachType::Egress
            } else {
                CgroupSkbAttachType::Ingress
            };
            let program: &mut CgroupSkb = program.try_into()?;
            program.load()?;
            program.attach(cgroup, direction, mode)?;
        }
        Point::Uprobe | Point::Uretprobe => {
            let program: &mut UProbe = program.try_into()?;
            program.load()?;
        }
        Point::Fanotify => {}
    }
    Ok(())
}

/// Whether the verifier's listing of a refused program is to be shown. It may have millions of lines, and the kernel
/// verifies anew for each try with a larger buffer.
fn wants_listing() -> bool {
    std::env::var_os("KEYWITNESS_VERIFIER_LOG").is_some()
}

/// An error with its causes, on one line unless the verifier's listing is in it.
fn chain(error: &dyn std::error::Error) -> String {
    let text = uplink::with_causes(error);
    if wants_listing() {
        return text;
    }
    text.lines().take(MAX_REASON_LINES).collect::<Vec<_>>().join("; ")
}
