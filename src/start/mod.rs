//! The host's side of a start, from a runner to a process.
//!
//! * this file: the course of a start, read from top to bottom.
//! * `arena`, `clone`: the child's memory, and the clone itself.
//! * `conversation`: answering the child until it has exec'd, and ending it if something fails.
//! * `files`: what the host writes and opens for the child: id maps, time offsets, cgroups.
//! * `shared`: the memfd by which the embedded program gets its plan.
//!
//! No lock is held anywhere: starts from different threads know nothing of each other.

pub mod arena;
mod clone;
mod conversation;
mod files;
mod shared;

use core::ffi::c_int;
use core::sync::atomic::Ordering::Acquire;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::error::{Error, Location, Result};
use crate::init_program::InitProgram;
use crate::launch::Launch;
use crate::plan::order::{self, Internal};
use crate::plan::sources::Patience;
use crate::plan::{Shape, check_open, needs_host_pidfd, prepare};
use crate::process::Process;
use crate::runner::Runner;
use crate::sys::{self, Deadline, NotCancelled};

pub use conversation::recorded_failure;
pub use files::how_to_join;
pub use shared::Memfd;

use clone::Child;
use conversation::Conversation;

/// Starts a program. The runner is only read; the call returns when the program was exec'd (or has
/// stopped before its filter, where that was asked for), or when everything of it is gone again.
pub fn start(runner: &Runner, launch: &Launch) -> Result<Process> {
    let (host, shape) = prepare(runner, launch)?;
    check_open(runner, launch)?;
    let deadline = Deadline::after(launch.setup_timeout);
    let _not_cancelled = NotCancelled::begin();

    // Everything that the plan refers to by number.
    let host_pidfd =
        if needs_host_pidfd(runner, shape) { Some(own_pidfd(host.pid)?) } else { None };
    let init_program = if shape == Shape::Direct { None } else { Some(InitProgram::open()?) };
    let channel = if shape == Shape::Init { Some(shared::channel()?) } else { None };
    let memfd = if shape == Shape::Direct { None } else { Some(shared::Memfd::new()?) };
    let cgroups = files::open_cgroups(runner, launch, shape)?;
    let plan_source = match (&channel, &memfd) {
        (Some((_, theirs)), _) => theirs.as_raw_fd(),
        (None, Some(memfd)) => memfd.fd(),
        (None, None) => -1,
    };
    let internal = Internal {
        host_pidfd: raw(&host_pidfd),
        plan_source,
        init_program: init_program.as_ref().map_or(-1, InitProgram::fd),
        cgroups: files::joinings(&cgroups)?,
        patience: Patience::None,
    };

    let draft = order::build(runner, launch, &host, shape, &internal)?;
    let unenforced = draft.unenforced;
    let floor = draft.builder.header.floor;
    let block = draft.builder.finish()?;
    if let Some(memfd) = &memfd {
        memfd.write(block.bytes())?;
        if let Some((ours, _)) = &channel {
            shared::send_plan(ours, memfd, block.bytes().len(), floor)?;
        }
    }

    // From the clone on, whatever fails drops the child, which kills and reaps it.
    let child = Child::clone(runner, launch, block, memfd)?;
    let mut talk = Conversation::new(runner, launch, &child, deadline);
    talk.until_entry_is_over()?;
    let program = match channel {
        None => {
            if shape == Shape::Staged {
                talk.until_embedded_is_over()?;
            }
            None
        }
        Some((ours, theirs)) => {
            drop(theirs);
            let program = talk.until_program_is_execed(&ours);
            if program.is_err() {
                talk.end_program();
            }
            Some((program?, ours))
        }
    };
    let unenforced = unenforced | u64::from(child.control().unenforced.load(Acquire));
    let (pid, pidfd, memfd) = child.finish();
    // Only a program that is still before its exec can write down a failure later.
    let memfd = memfd.filter(|_| runner.ptrace || runner.stop_before_seccomp);
    let process = match program {
        None => Process::of_child(shape, pid, pidfd, memfd, unenforced),
        Some((program, channel)) => Process::of_init(
            (program.pid, program.pidfd),
            (pid, (pidfd, channel)),
            memfd,
            unenforced,
            runner.makes(libc::CLONE_NEWPID),
        ),
    };
    Ok(process.traced(runner.ptrace))
}

fn raw(fd: &Option<OwnedFd>) -> c_int {
    fd.as_ref().map_or(-1, AsRawFd::as_raw_fd)
}

fn own_pidfd(pid: c_int) -> Result<OwnedFd> {
    // SAFETY: opens a descriptor, close-on-exec by itself.
    sys::new_fd(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
        .map_err(|errno| Error::at(Location::HostPidfd, errno))
}
