//! Which shape of process tree a start takes: the least one that is safe.

use core::ffi::c_int;

use super::host::{Host, kernel_is_at_least};
use crate::error::{Error, Result};
use crate::launch::Launch;
use crate::runner::{IdMap, Runner};

/// The shapes, from the fastest to the most protective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Shape {
    /// host -> program: the cloned child shares the host's memory until its exec.
    Direct = 0,
    /// The cloned child execs the embedded program at once, which becomes the program: same pid.
    Staged = 1,
    /// host -> init -> program.
    Init = 2,
}

const NEWPID: u64 = libc::CLONE_NEWPID as u64;
const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
use crate::flags::SBX_NS_TIME as NEWTIME;

/// Chooses.
pub fn choose(runner: &Runner, launch: &Launch, host: &Host) -> Result<Shape> {
    let new_pid = runner.namespaces & NEWPID != 0;
    let joins_pid = runner.joins(NEWPID);
    let init = runner.init.unwrap_or(new_pid || joins_pid);
    if joins_pid && !init {
        return Err(Error::invalid(format_args!(
            "init: a joined pid namespace holds only children of the process that joined: it needs the init"
        )));
    }
    // Before 6.3 a process entered its new time namespace only by a clone, not by its exec.
    let late_time = runner.namespaces & NEWTIME != 0 && !kernel_is_at_least(6, 3);
    if late_time && runner.init == Some(false) {
        return Err(Error::invalid(format_args!(
            "init: before Linux 6.3 a new time namespace needs the init"
        )));
    }
    if init || late_time {
        return Ok(Shape::Init);
    }
    Ok(if needs_own_memory(runner, launch, host) { Shape::Staged } else { Shape::Direct })
}

/// True where a child that shares the host's memory would change the host, expose it to others, draw
/// the OOM killer's eye to it, or still share it when the start returns.
fn needs_own_memory(runner: &Runner, launch: &Launch, host: &Host) -> bool {
    runner.staged
        // A new effective id in the child sets the shared memory's dumpable flag.
        || changes_kernel_id(runner, host)
        || super::root::takes_ids(runner, launch, host)
        // Whoever lives in an existing user namespace may open a child that enters it.
        || [NEWUSER, NEWPID, NEWTIME].iter().any(|kind| runner.joins(*kind))
        // Its OOM killer would take the host along.
        || !runner.cgroup_fds.is_empty()
        || launch.cgroup_fd.is_some()
        // Belongs to the memory, not to the process.
        || runner.oom_score_adj.is_some()
        // The start returns before the exec.
        || runner.ptrace
        || runner.stop_before_seccomp
}

/// True when the program's uid or gid is another one for the kernel.
fn changes_kernel_id(runner: &Runner, host: &Host) -> bool {
    let Some(credential) = &runner.credential else { return false };
    kernel_uid(runner, host) != Some(host.euid)
        || kernel_id(runner, credential.gid, &runner.gid_map) != Some(host.egid)
}

/// The program's uid as the host sees it.
pub fn kernel_uid(runner: &Runner, host: &Host) -> Option<u32> {
    match &runner.credential {
        None => Some(host.euid),
        Some(credential) => kernel_id(runner, credential.uid, &runner.uid_map),
    }
}

fn kernel_id(runner: &Runner, id: u32, map: &[IdMap]) -> Option<u32> {
    if !runner.makes(libc::CLONE_NEWUSER) {
        return Some(id);
    }
    IdMap::to_outside(map, id)
}

impl Runner {
    /// True if an existing namespace of this kind is joined.
    pub fn joins(&self, kind: u64) -> bool {
        self.joined.iter().any(|joined| joined.kind == kind)
    }

    /// True if a new namespace of this kind is made.
    pub fn makes(&self, kind: c_int) -> bool {
        self.namespaces & kind as u32 as u64 != 0
    }
}
