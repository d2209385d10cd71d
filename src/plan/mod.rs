//! From a runner to a plan: everything is decided here, before anything is started.
//!
//! * `order`: which steps, in which order, and why. Read this first.
//! * `shape`: direct, staged or init.
//! * `check`: contradictions between settings.
//! * `root`, `tree`, `entries`, `sources`, `mounts`, `mount_flags`, `links`, `dev`, `fds`, `identity`, `landlock`: the steps of one theme
//!   each.
//! * `host`: what the plan must know of the host.
//! * `builder`, `step`: lay steps and data out in one block.
//! * `describe`: prints a plan.

use core::ffi::c_int;

pub mod builder;
mod check;
mod describe;
mod dev;
mod entries;
mod fds;
pub mod host;
mod identity;
mod landlock;
mod links;
mod mount_flags;
mod mounts;
pub mod order;
mod root;
pub mod shape;
pub mod sources;
mod step;
mod tree;

pub use check::setgroups_allowed;
pub use describe::describe;
pub use fds::check_open;
pub use shape::{Shape, choose};

use crate::error::Result;
use crate::flags::SBX_NS_TIME;
use crate::launch::Launch;
use crate::runner::Runner;
use host::Host;

/// Checks everything that can be checked without starting, and chooses the shape.
pub fn prepare(runner: &Runner, launch: &Launch) -> Result<(Host, Shape)> {
    let host = Host::look();
    check::check(runner, launch, &host)?;
    let shape = shape::choose(runner, launch, &host)?;
    Ok((host, shape))
}

/// The cgroups of a start: the launch's in place of the runner's.
pub fn cgroup_fds<'a>(runner: &'a Runner, launch: &'a Launch) -> &'a [c_int] {
    launch.cgroup_fd.as_ref().map_or(runner.cgroup_fds.as_slice(), core::slice::from_ref)
}

/// The program as an open file: a path in the launch overrides the runner's descriptor.
pub fn exec_fd(runner: &Runner, launch: &Launch) -> Option<c_int> {
    launch.exec_fd.or(if launch.exec_path.is_some() { None } else { runner.exec_fd })
}

/// True if the child cannot see its parent's pid, or has to watch the host for longer than the start.
pub fn needs_host_pidfd(runner: &Runner, shape: Shape) -> bool {
    shape == Shape::Init || runner.makes(libc::CLONE_NEWPID)
}

/// The namespaces that come with the clone.
pub fn clone_namespaces(runner: &Runner, launch: &Launch) -> u64 {
    if runner.joins(libc::CLONE_NEWUSER as u64) {
        return 0;
    }
    let late_cgroup = runner.unshare_cgroup_after_sync || !cgroup_fds(runner, launch).is_empty();
    let late = SBX_NS_TIME | if late_cgroup { libc::CLONE_NEWCGROUP as u64 } else { 0 };
    runner.namespaces & !late
}
