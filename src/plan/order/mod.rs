//! The order of the steps: the one place where it is written, with the reason for each position.
//!
//! `build` is the table of contents; each of its functions is a paragraph, in `entry` (the cloned
//! child, sharing the host's memory), `embedded` (the sandbox as a place) and `program` (the program's
//! own process). docs/order.md tells the same story to users.

use core::ffi::c_int;

mod embedded;
mod entry;
mod program;

use super::builder::{Builder, Slot};
use super::fds;
use super::host::Host;
use super::shape::Shape;
use super::sources::Patience;
use crate::child::plan::list;
use crate::error::{Location, Result};
use crate::launch::Launch;
use crate::runner::{FdMap, Runner};

/// Descriptors of the host that a start opened for this plan. In a description they are placeholders.
pub struct Internal {
    /// The host's own pidfd, or -1 where getppid tells enough.
    pub host_pidfd: c_int,
    /// What the embedded program gets its plan by: the child's end of the channel (init), the memfd
    /// that holds it (staged), or -1.
    pub plan_source: c_int,
    /// The embedded program (staged, init), or -1.
    pub init_program: c_int,
    /// How each cgroup is joined.
    pub cgroups: Vec<Joining>,
    /// How long a look at a bind's source may take.
    pub patience: Patience,
}

/// How a cgroup is joined.
#[derive(Debug, Clone, Copy)]
pub enum Joining {
    /// The program is cloned into it; the cgroup's directory.
    Clone(c_int),
    /// The program writes 0 to this file (`tasks`, or `cgroup.procs`).
    Write(c_int),
}

/// A plan before it is laid out, and what it cannot do.
pub struct Draft {
    /// The steps.
    pub builder: Builder,
    /// SBX_UNENFORCED_* that are certain before the start.
    pub unenforced: u64,
}

/// Every descriptor that a plan names beside the program's.
fn named<'a>(
    runner: &'a Runner,
    launch: &'a Launch,
    internal: &'a Internal,
) -> impl Iterator<Item = c_int> + 'a {
    let own = [internal.host_pidfd, internal.plan_source, internal.init_program];
    let cgroups = internal.cgroups.iter().map(|cgroup| match *cgroup {
        Joining::Clone(fd) | Joining::Write(fd) => fd,
    });
    let single = [launch.exec_fd, runner.exec_fd, runner.ctty].map(|fd| fd.unwrap_or(-1));
    own.into_iter().chain(single).chain(cgroups).chain(runner.joined.iter().map(|ns| ns.fd))
}

struct Order<'a> {
    runner: &'a Runner,
    launch: &'a Launch,
    host: &'a Host,
    shape: Shape,
    internal: &'a Internal,
    fds: Vec<FdMap>,
    floor: fds::Floor,
    builder: Builder,
    unenforced: u64,
    raised_ambient: bool,
    null: Option<Slot>,
    saved_umask: Option<Slot>,
    init_pid: Option<Slot>,
    exec_slot: Option<Slot>,
    host_slot: Option<Slot>,
    cgroup_slots: Vec<Slot>,
}

/// As many steps as most lists have.
const STEPS: usize = 64;

/// Builds the plan of a start.
pub fn build(
    runner: &Runner,
    launch: &Launch,
    host: &Host,
    shape: Shape,
    internal: &Internal,
) -> Result<Draft> {
    let map = fds::merged(runner, launch)?;
    let mut builder = Builder::empty();
    let floor = fds::floor(&map, named(runner, launch, internal))?;
    builder.header.floor = floor.first;
    builder.header.host_pidfd = internal.host_pidfd;
    for list in [list::ENTRY, list::INIT, list::PROGRAM] {
        builder.reserve(list, STEPS)?;
    }
    let mut order = Order {
        runner,
        launch,
        host,
        shape,
        internal,
        fds: map,
        floor,
        builder,
        unenforced: 0,
        raised_ambient: false,
        null: None,
        saved_umask: None,
        init_pid: None,
        exec_slot: None,
        host_slot: None,
        cgroup_slots: Vec::new(),
    };
    order.builder.select(list::ENTRY);
    order.tie_to_host()?;
    order.reset_signals_and_scheduling()?;
    order.new_namespaces_get_their_maps()?;
    if shape != Shape::Direct {
        order.exec_embedded_program()?;
        order.builder.select(list::INIT);
    }
    order.oom_score()?;
    order.protect_embedded_program()?;
    order.open_what_only_the_host_has()?;
    order.join_namespaces()?;
    order.furnish_namespaces()?;
    if shape == Shape::Init && order.mounts_need_the_program() {
        order.become_program()?;
        order.build_root()?;
    } else {
        order.build_root()?;
        order.become_program()?;
    }
    order.session()?;
    order.file_descriptors()?;
    order.process_attributes()?;
    order.give_up_identity()?;
    order.join_cgroups()?;
    order.meet_the_host()?;
    order.last_rights()?;
    order.cut_the_tie()?;
    order.stop_filter_exec()?;
    Ok(Draft { builder: order.builder, unenforced: order.unenforced })
}

impl Order<'_> {
    fn prctl(&mut self, location: Location, option: c_int, value: u64) -> Result<()> {
        self.builder.call(location, libc::SYS_prctl, &[option.into(), value.into()])?;
        Ok(())
    }

    fn new_user_namespace(&self) -> bool {
        self.runner.makes(libc::CLONE_NEWUSER)
    }

    /// New namespaces come with the clone, unless they belong into a joined user namespace: then they
    /// are made after joining it.
    fn unshares_after_joining(&self) -> bool {
        self.runner.joins(libc::CLONE_NEWUSER as u64)
    }

    /// procfs shows the pid namespace of whoever mounts it, and a joined one holds only the children
    /// of the process that joined.
    fn mounts_need_the_program(&self) -> bool {
        self.runner.joins(libc::CLONE_NEWPID as u64)
    }

    /// The cgroup namespace, if it has to wait until the cgroup was joined: its root is where its
    /// first process is.
    fn late_cgroup(&self) -> u64 {
        let late = self.runner.unshare_cgroup_after_sync || !self.internal.cgroups.is_empty();
        if late { self.runner.namespaces & libc::CLONE_NEWCGROUP as u64 } else { 0 }
    }

    fn own_pidfd(&mut self, location: Location) -> Result<Slot> {
        let pid = self.builder.slot()?;
        self.builder.call(location, libc::SYS_getpid, &[])?.out(pid);
        let pidfd = self.builder.slot()?;
        self.builder.call(location, libc::SYS_pidfd_open, &[pid.into(), 0.into()])?.out(pidfd);
        self.builder.release(pid);
        Ok(pidfd)
    }
}
