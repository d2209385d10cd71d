//! The order of the steps: the one place where it is written, with the reason for each position.
//!
//! `build` is the table of contents; each function below it is a paragraph. docs/order.md tells the
//! same story to users.

use core::ffi::c_int;

use super::builder::{Arg, Block, Builder, Slot};
use super::fds;
use super::host::Host;
use super::identity;
use super::landlock;
use super::root;
use super::shape::Shape;
use crate::child::plan::{list, mode, op, request};
use crate::error::{Location, Result};
use crate::launch::Launch;
use crate::mem;
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

struct Order<'a> {
    runner: &'a Runner,
    launch: &'a Launch,
    host: &'a Host,
    shape: Shape,
    internal: &'a Internal,
    fds: Vec<FdMap>,
    builder: Builder,
    unenforced: u64,
    raised_ambient: bool,
    null: Option<Slot>,
    saved_umask: Option<Slot>,
    init_pid: Option<Slot>,
    exec_slot: Option<Slot>,
    cgroup_slots: Vec<Slot>,
}

/// Builds the plan of a start.
pub fn build(
    runner: &Runner,
    launch: &Launch,
    host: &Host,
    shape: Shape,
    internal: &Internal,
) -> Result<Draft> {
    let map = fds::merged(runner, launch)?;
    let mut builder = Builder::new();
    builder.header.floor = fds::floor(&map)?;
    builder.header.host_pidfd = internal.host_pidfd;
    let mut order = Order {
        runner,
        launch,
        host,
        shape,
        internal,
        fds: map,
        builder,
        unenforced: 0,
        raised_ambient: false,
        null: None,
        saved_umask: None,
        init_pid: None,
        exec_slot: None,
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

/// Lays the draft out.
pub fn finish(draft: Draft) -> Result<(Block, u64)> {
    Ok((draft.builder.finish()?, draft.unenforced))
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

    /// First of all: if the host dies from here on, so does the child. The signal works from the
    /// moment it is set; a host that died before is found by looking.
    fn tie_to_host(&mut self) -> Result<()> {
        self.prctl(Location::Pdeathsig, libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)?;
        self.host_is_alive()
    }

    fn host_is_alive(&mut self) -> Result<()> {
        if self.internal.host_pidfd < 0 {
            self.builder
                .call(Location::HostGone, libc::SYS_getppid, &[])?
                .expect(self.host.pid, libc::ESRCH);
            return Ok(());
        }
        // In a pid namespace of its own the child's parent is 0. A pidfd is readable once its
        // process has ended: POLLIN, as a struct pollfd of fd, events and revents.
        let polled =
            self.builder.numbers(&[self.internal.host_pidfd as u32, libc::POLLIN as u16 as u32])?;
        let now = self.builder.words(&[0, 0])?;
        self.builder
            .call(
                Location::HostGone,
                libc::SYS_ppoll,
                &[Arg::Data(polled), 1.into(), Arg::Data(now), 0.into(), 0.into()],
            )?
            .expect(0, libc::ESRCH);
        Ok(())
    }

    /// A real-time policy first: spinning under it could starve the host on its own CPU. Then signals:
    /// the host's handlers do not exist in the program, and what the host ignores (SIGPIPE in Python,
    /// SIGHUP under nohup) an exec would leave ignored. All are blocked until right before the filter.
    fn reset_signals_and_scheduling(&mut self) -> Result<()> {
        if self.host.realtime {
            let priority = self.builder.numbers(&[0])?;
            self.builder.call(
                Location::SchedReset,
                libc::SYS_sched_setscheduler,
                &[0.into(), libc::SCHED_OTHER.into(), Arg::Data(priority)],
            )?;
        }
        // struct sigaction of the kernel: handler SIG_DFL, no flags, no restorer, empty mask.
        let default = self.builder.words(&[0; 4])?;
        let [kill, stop] = [libc::SIGKILL as usize, libc::SIGSTOP as usize];
        for (first, last) in [(1, kill - 1), (kill + 1, stop - 1), (stop + 1, 64)] {
            self.builder
                .call(
                    Location::Signals,
                    libc::SYS_rt_sigaction,
                    &[first.into(), Arg::Data(default), 0.into(), 8.into()],
                )?
                .index(first)
                .repeat(last - first + 1, 0);
        }
        Ok(())
    }

    /// A time namespace is unshared, not cloned: after a clone its offsets could no longer be set. The
    /// host writes maps and offsets while the child waits; before that the child has no ids at all.
    fn new_namespaces_get_their_maps(&mut self) -> Result<()> {
        const NEWTIME: u64 = 0x80;
        if self.runner.namespaces & NEWTIME != 0 {
            self.builder.call(Location::Unshare, libc::SYS_unshare, &[NEWTIME.into()])?;
        }
        let maps = self.new_user_namespace() && !self.unshares_after_joining();
        if maps || !self.runner.time_offsets.is_empty() {
            self.builder.ask(Location::Maps, request::MAPS, None)?;
        }
        Ok(())
    }

    /// The embedded program gets its capabilities as ambient, since an exec by a uid other than 0
    /// drops them, and the descriptors that the plan names. It is exec'd before any identity changes.
    fn exec_embedded_program(&mut self) -> Result<()> {
        self.raised_ambient = identity::exec_loses_capabilities(self.runner, self.host);
        if self.raised_ambient {
            identity::add_ambient(&mut self.builder, self.runner, self.host)?;
        }
        let mut needed: Vec<(c_int, &'static str)> = Vec::new();
        let mut add = |fd: c_int, name: &'static str| -> Result<()> {
            if fd >= 0 {
                mem::push(&mut needed, (fd, name))?;
            }
            Ok(())
        };
        add(self.internal.plan_source, "plan")?;
        add(self.internal.host_pidfd, "host")?;
        for cgroup in &self.internal.cgroups {
            match *cgroup {
                Joining::Clone(fd) => add(fd, "cgroup")?,
                Joining::Write(fd) => add(fd, "cgroup.procs")?,
            }
        }
        for entry in &self.fds {
            add(entry.fd, "fd")?;
        }
        for joined in &self.runner.joined {
            add(joined.fd, "namespace")?;
        }
        add(self.runner.ctty.unwrap_or(-1), "ctty")?;
        add(self.exec_fd().unwrap_or(-1), "program")?;
        needed.sort_unstable_by_key(|(fd, _)| *fd);
        needed.dedup_by_key(|(fd, _)| *fd);
        fds::add_inheritance(&mut self.builder, &needed)?;

        let (argv, envp) = (
            self.builder
                .embedded_program_args(self.shape == Shape::Staged, self.internal.plan_source)?,
            self.builder.string_array(&[])?,
        );
        let empty = self.builder.cstr(c"")?;
        let flags = Arg::from(libc::AT_EMPTY_PATH);
        let program = Arg::Fd(self.internal.init_program, "sbx-init");
        self.builder.add(
            op::EXEC_INIT,
            Location::ExecInit,
            libc::SYS_execveat as u32,
            &[program, empty, Arg::Data(argv), Arg::Data(envp), flags],
        )?;
        Ok(())
    }

    /// Before the embedded program is non-dumpable, which makes its own files in /proc root's.
    fn oom_score(&mut self) -> Result<()> {
        if let Some(adj) = self.runner.oom_score_adj {
            let path = self.builder.cstr(c"/proc/self/oom_score_adj")?;
            let file = self.builder.slot()?;
            let flags = libc::O_WRONLY | libc::O_CLOEXEC;
            self.builder
                .call(
                    Location::OomScoreAdj,
                    libc::SYS_openat,
                    &[libc::AT_FDCWD.into(), path, flags.into(), 0.into()],
                )?
                .out(file);
            let mut text = [0u8; 16];
            let text = mem::format_into(&mut text, format_args!("{adj}"));
            let bytes = self.builder.bytes(text)?;
            self.builder.call(
                Location::OomScoreAdj,
                libc::SYS_write,
                &[file.into(), Arg::Data(bytes), text.len().into()],
            )?;
            self.builder.close(Location::OomScoreAdj, file)?;
        }
        Ok(())
    }

    /// Non-dumpable from here on, so that nobody inside can look into the embedded program; not
    /// earlier, because the host could no longer write the maps. A tracer must seize before that too.
    fn protect_embedded_program(&mut self) -> Result<()> {
        if self.shape == Shape::Direct {
            return Ok(());
        }
        if self.shape == Shape::Staged && self.runner.ptrace {
            self.builder.ask(Location::Ptrace, request::SEIZE, None)?;
        }
        if self.shape == Shape::Staged || !self.runner.ptrace {
            self.prctl(Location::Dumpable, libc::PR_SET_DUMPABLE, 0)?;
        }
        if self.shape == Shape::Init {
            self.builder.header.mode |= mode::SPAWN;
            if self.runner.makes(libc::CLONE_NEWPID) {
                self.builder.header.mode |= mode::PID_NAMESPACE;
            } else {
                // Orphans come to the init, which kills them; it finds them by this list.
                self.prctl(Location::Subreaper, libc::PR_SET_CHILD_SUBREAPER, 1)?;
                let path = self.builder.cstr(c"/proc/thread-self/children")?;
                let children = self.builder.slot()?;
                let flags = libc::O_RDONLY | libc::O_CLOEXEC;
                let opened = self
                    .builder
                    .call(
                        Location::Subreaper,
                        libc::SYS_openat,
                        &[libc::AT_FDCWD.into(), path, flags.into(), 0.into()],
                    )?
                    .out(children);
                // Without /proc the init knows only the program itself.
                opened.tolerate(libc::ENOENT);
                self.builder.header.children_slot = u32::from(children.0);
                self.init_pid = Some(self.builder.slot()?);
                let slot = self.init_pid.unwrap_or(children);
                self.builder.call(Location::Subreaper, libc::SYS_getpid, &[])?.out(slot);
            }
        }
        Ok(())
    }

    /// While the host's root and /dev are still in sight.
    fn open_what_only_the_host_has(&mut self) -> Result<()> {
        if fds::needs_dev_null(&self.fds) {
            self.null = Some(fds::open_dev_null(&mut self.builder)?);
        }
        Ok(())
    }

    /// The user namespace first: it gives the right to join the others, and to make new ones in it.
    fn join_namespaces(&mut self) -> Result<()> {
        let user = libc::CLONE_NEWUSER as u64;
        for first in [true, false] {
            for (index, joined) in self
                .runner
                .joined
                .iter()
                .enumerate()
                .filter(|(_, joined)| (joined.kind == user) == first)
            {
                self.builder
                    .call(
                        Location::JoinNamespace,
                        libc::SYS_setns,
                        &[Arg::Fd(joined.fd, "namespace"), joined.kind.into()],
                    )?
                    .index(index);
            }
        }
        if !self.unshares_after_joining() {
            return Ok(());
        }
        // The change of credentials took the parent-death signal away.
        self.prctl(Location::Pdeathsig, libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)?;
        self.host_is_alive()?;
        let new = self.runner.namespaces & !self.late_cgroup();
        if new != 0 {
            self.builder.call(Location::Unshare, libc::SYS_unshare, &[new.into()])?;
        }
        if self.new_user_namespace() {
            self.builder.ask(Location::Maps, request::MAPS, None)?;
        }
        Ok(())
    }

    /// The cgroup namespace, if it has to wait until the cgroup was joined: its root is where its
    /// first process is.
    fn late_cgroup(&self) -> u64 {
        let late = self.runner.unshare_cgroup_after_sync || !self.internal.cgroups.is_empty();
        if late { self.runner.namespaces & libc::CLONE_NEWCGROUP as u64 } else { 0 }
    }

    /// What belongs to a namespace and not to a process.
    fn furnish_namespaces(&mut self) -> Result<()> {
        if self.runner.loopback {
            // struct ifreq: 16 bytes of name, then the flags.
            let mut request = [0u8; 40];
            request[..2].copy_from_slice(b"lo");
            request[16..18]
                .copy_from_slice(&((libc::IFF_UP | libc::IFF_RUNNING) as u16).to_ne_bytes());
            let request = self.builder.bytes(&request)?;
            let socket = self.builder.slot()?;
            let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
            self.builder
                .call(
                    Location::Loopback,
                    libc::SYS_socket,
                    &[libc::AF_INET.into(), kind.into(), 0.into()],
                )?
                .out(socket);
            self.builder.call(
                Location::Loopback,
                libc::SYS_ioctl,
                &[socket.into(), (libc::SIOCSIFFLAGS as u64).into(), Arg::Data(request)],
            )?;
            self.builder.close(Location::Loopback, socket)?;
        }
        for (name, location, number) in [
            (&self.runner.hostname, Location::Hostname, libc::SYS_sethostname),
            (&self.runner.domainname, Location::Domainname, libc::SYS_setdomainname),
        ] {
            if let Some(name) = name {
                let text = self.builder.text(name.bytes())?;
                self.builder.call(location, number, &[text, name.bytes().len().into()])?;
            }
        }
        Ok(())
    }

    /// Modes of what is made are the caller's, not the host's umask's.
    fn build_root(&mut self) -> Result<()> {
        if !self.runner.mounts.is_empty()
            || !self.launch.binds.is_empty()
            || self.runner.root.is_some()
        {
            let saved = self.builder.slot()?;
            self.builder.call(Location::Umask, libc::SYS_umask, &[0.into()])?.out(saved);
            self.saved_umask = Some(saved);
        }
        let ids = root::ids_to_take(self.runner, self.host);
        root::add(&mut self.builder, self.runner, self.launch, ids)
    }

    /// In the init shape the program is a child of the embedded program from here on: everything that
    /// belongs to one process comes after this.
    fn become_program(&mut self) -> Result<()> {
        if self.shape != Shape::Init {
            return Ok(());
        }
        self.builder.select(list::PROGRAM);
        if let Some(Joining::Clone(fd)) =
            self.internal.cgroups.iter().find(|cgroup| matches!(cgroup, Joining::Clone(_)))
        {
            self.builder.header.spawn_cgroup = *fd;
        }
        if let Some(init_pid) = self.init_pid {
            // Without a pid namespace the init's death kills nobody by itself.
            self.prctl(Location::Pdeathsig, libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)?;
            if !self.runner.joins(libc::CLONE_NEWPID as u64) {
                self.builder
                    .call(Location::HostGone, libc::SYS_getppid, &[])?
                    .expect_slot(init_pid, libc::ESRCH);
            }
        }
        if self.runner.ptrace {
            let pidfd = self.own_pidfd(Location::Ptrace)?;
            self.builder.ask(Location::Ptrace, request::SEIZE, Some(pidfd))?;
            self.builder.close(Location::Ptrace, pidfd)?;
            self.prctl(Location::Dumpable, libc::PR_SET_DUMPABLE, 0)?;
        }
        Ok(())
    }

    fn own_pidfd(&mut self, location: Location) -> Result<Slot> {
        let pid = self.builder.slot()?;
        self.builder.call(location, libc::SYS_getpid, &[])?.out(pid);
        let pidfd = self.builder.slot()?;
        self.builder.call(location, libc::SYS_pidfd_open, &[pid.into(), 0.into()])?.out(pidfd);
        self.builder.release(pid);
        Ok(pidfd)
    }

    /// The keyring, the session and its terminal are the process's own.
    fn session(&mut self) -> Result<()> {
        if self.runner.session_keyring {
            const KEYCTL_JOIN_SESSION_KEYRING: u64 = 1;
            // Keyrings of ended processes are freed late, and an unprivileged user's quota is small.
            self.builder
                .call(
                    Location::Keyring,
                    libc::SYS_keyctl,
                    &[KEYCTL_JOIN_SESSION_KEYRING.into(), 0.into()],
                )?
                .retry(libc::EDQUOT);
        }
        if self.runner.setsid || self.runner.ctty.is_some() {
            self.builder.call(Location::Setsid, libc::SYS_setsid, &[])?;
        }
        if let Some(fd) = self.runner.ctty {
            self.builder.call(
                Location::Ctty,
                libc::SYS_ioctl,
                &[Arg::Fd(fd, "ctty"), (libc::TIOCSCTTY as u64).into(), 0.into()],
            )?;
        }
        Ok(())
    }

    fn exec_fd(&self) -> Option<c_int> {
        let by_path = self.launch.exec_path.is_some();
        self.launch.exec_fd.or(if by_path { None } else { self.runner.exec_fd })
    }

    /// After everything that opens files. What is still needed later moves above the program's
    /// numbers first, whatever they are; the rest is closed by the exec.
    fn file_descriptors(&mut self) -> Result<()> {
        if let Some(fd) = self.exec_fd() {
            let moved = fds::move_up(&mut self.builder, Location::FdMap, Arg::Fd(fd, "program"))?;
            self.exec_slot = Some(moved);
        }
        for cgroup in 0..self.internal.cgroups.len() {
            if let Joining::Write(fd) = self.internal.cgroups[cgroup] {
                let moved =
                    fds::move_up(&mut self.builder, Location::FdMap, Arg::Fd(fd, "cgroup.procs"))?;
                mem::push(&mut self.cgroup_slots, moved)?;
            }
        }
        fds::add_map(&mut self.builder, &self.fds, self.null)
    }

    fn process_attributes(&mut self) -> Result<()> {
        // Resolved inside the root even if it is a symlink, and only then entered: a directory outside
        // that some descriptor still leads to is no way to stay there.
        if let Some(path) = &self.runner.workdir {
            let name = self.builder.text(path.bytes())?;
            let workdir = self.builder.slot()?;
            if self.runner.root.is_some() {
                let how =
                    super::tree::open_how(&mut self.builder, libc::O_PATH | libc::O_DIRECTORY)?;
                self.builder
                    .call(
                        Location::Workdir,
                        libc::SYS_openat2,
                        &[libc::AT_FDCWD.into(), name, how, 24.into()],
                    )?
                    .out(workdir);
            } else {
                let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
                self.builder
                    .call(
                        Location::Workdir,
                        libc::SYS_openat,
                        &[libc::AT_FDCWD.into(), name, flags.into(), 0.into()],
                    )?
                    .out(workdir);
            }
            self.builder.call(Location::Workdir, libc::SYS_fchdir, &[workdir.into()])?;
            self.builder.close(Location::Workdir, workdir)?;
        }
        match (self.runner.umask, self.saved_umask) {
            (Some(mask), _) => {
                _ = self.builder.call(Location::Umask, libc::SYS_umask, &[mask.into()])?
            }
            (None, Some(saved)) => {
                _ = self.builder.call(Location::Umask, libc::SYS_umask, &[saved.into()])?
            }
            (None, None) => {}
        }
        if let Some(mask) = &self.runner.affinity {
            let bytes = self.builder.bytes(mask)?;
            self.builder.call(
                Location::Affinity,
                libc::SYS_sched_setaffinity,
                &[0.into(), mask.len().into(), Arg::Data(bytes)],
            )?;
        }
        if let Some(nice) = self.runner.nice {
            self.builder.call(
                Location::Nice,
                libc::SYS_setpriority,
                &[(libc::PRIO_PROCESS as u64).into(), 0.into(), nice.into()],
            )?;
        }
        if let Some(scheduler) = self.runner.scheduler {
            let priority = self.builder.numbers(&[scheduler.priority as u32])?;
            self.builder.call(
                Location::Scheduler,
                libc::SYS_sched_setscheduler,
                &[0.into(), scheduler.policy.into(), Arg::Data(priority)],
            )?;
        }
        if self.runner.no_aslr {
            const ADDR_NO_RANDOMIZE: u64 = 0x004_0000;
            const QUERY: libc::c_ulong = 0xffff_ffff;
            // SAFETY: with this argument it only tells.
            let now = unsafe { libc::personality(QUERY) };
            self.builder.call(
                Location::Personality,
                libc::SYS_personality,
                &[(now as u32 as u64 | ADDR_NO_RANDOMIZE).into()],
            )?;
        }
        Ok(())
    }

    /// no_new_privs before Landlock, which demands it of those without CAP_SYS_ADMIN; Landlock before
    /// the sync function, so that the caller sees a process that is restricted already.
    fn give_up_identity(&mut self) -> Result<()> {
        self.unenforced |= identity::add_credentials(
            &mut self.builder,
            self.runner,
            self.host,
            self.raised_ambient,
        )?;
        if self.runner.no_new_privs {
            self.builder.call(
                Location::NoNewPrivs,
                libc::SYS_prctl,
                &[libc::PR_SET_NO_NEW_PRIVS.into(), 1.into(), 0.into(), 0.into(), 0.into()],
            )?;
        }
        self.unenforced |= landlock::add(&mut self.builder, self.runner)?;
        Ok(())
    }

    /// Late, so that the start itself is not charged; through files that the host opened, so that no
    /// right is needed. A single thread that writes 0 to v1's `tasks` waits for nobody.
    fn join_cgroups(&mut self) -> Result<()> {
        let slots = core::mem::take(&mut self.cgroup_slots);
        for (index, slot) in slots.into_iter().enumerate() {
            let zero = self.builder.bytes(b"0")?;
            self.builder
                .call(Location::Cgroup, libc::SYS_write, &[slot.into(), Arg::Data(zero), 1.into()])?
                .index(index);
            self.builder.close(Location::Cgroup, slot)?;
        }
        Ok(())
    }

    /// The host learns the program's pidfd from the program itself where it is not its own child.
    fn meet_the_host(&mut self) -> Result<()> {
        if self.shape == Shape::Init {
            let pidfd = self.own_pidfd(Location::Sync)?;
            if self.runner.sync_func.is_some() {
                self.builder.ask(Location::Sync, request::SYNC, Some(pidfd))?;
            } else {
                self.builder.add(
                    op::TELL,
                    Location::Sync,
                    0,
                    &[request::PROGRAM.into(), pidfd.into()],
                )?;
            }
            self.builder.close(Location::Sync, pidfd)?;
        } else if self.runner.sync_func.is_some() {
            self.builder.ask(Location::Sync, request::SYNC, None)?;
        }
        // After the sync function, which may have moved the process, and while the right is there.
        let late = self.late_cgroup();
        if late != 0 {
            self.builder.call(Location::UnshareCgroup, libc::SYS_unshare, &[late.into()])?;
        }
        Ok(())
    }

    /// rlimits so late that no limit on processes or descriptors can break the start itself, but
    /// before the capabilities go, since raising a hard limit needs one.
    fn last_rights(&mut self) -> Result<()> {
        for (index, rlimit) in self.runner.rlimits.iter().enumerate() {
            let values = self.builder.words(&[rlimit.soft, rlimit.hard])?;
            self.builder
                .call(
                    Location::Rlimit,
                    libc::SYS_prlimit64,
                    &[0.into(), rlimit.resource.into(), Arg::Data(values), 0.into()],
                )?
                .index(index);
        }
        self.unenforced |= identity::add_final_capabilities(
            &mut self.builder,
            self.runner,
            self.host,
            self.raised_ambient,
        )?;
        Ok(())
    }

    /// The parent-death signal was for the start; it is bound to one thread of the host, which may end
    /// soon. What the caller wants instead is set now, since a change of credentials clears it.
    fn cut_the_tie(&mut self) -> Result<()> {
        if self.shape == Shape::Init {
            // Here the parent is the init.
            if let Some(signal) = self.runner.pdeathsig {
                self.prctl(Location::Pdeathsig, libc::PR_SET_PDEATHSIG, signal as u64)?;
            } else if self.init_pid.is_some() {
                self.prctl(Location::Pdeathsig, libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)?;
            }
            return Ok(());
        }
        self.prctl(
            Location::Pdeathsig,
            libc::PR_SET_PDEATHSIG,
            self.runner.pdeathsig.unwrap_or(0) as u64,
        )?;
        if self.runner.pdeathsig.is_some() { self.host_is_alive() } else { Ok(()) }
    }

    /// The filter is the last thing before the exec: what it denies must not be needed any more.
    fn stop_filter_exec(&mut self) -> Result<()> {
        let none = self.builder.words(&[0])?;
        self.builder.call(
            Location::Sigmask,
            libc::SYS_rt_sigprocmask,
            &[libc::SIG_SETMASK.into(), Arg::Data(none), 0.into(), 8.into()],
        )?;
        if self.runner.ptrace || self.runner.stop_before_seccomp {
            if self.shape == Shape::Init && !self.runner.ptrace {
                self.builder.header.mode |= mode::STOPS;
            } else {
                self.builder.add(
                    op::TELL,
                    Location::Stop,
                    0,
                    &[request::STOPPING.into(), u64::from(crate::child::plan::NO_SLOT).into()],
                )?;
            }
            let pid = self.builder.slot()?;
            self.builder.call(Location::Stop, libc::SYS_getpid, &[])?.out(pid);
            self.builder.call(
                Location::Stop,
                libc::SYS_kill,
                &[pid.into(), libc::SIGSTOP.into()],
            )?;
            self.builder.release(pid);
        }
        for (index, filter) in self.runner.filters.iter().enumerate() {
            // struct sock_fprog: a length and a pointer.
            let mut bytes = Vec::new();
            for instruction in &filter.program {
                mem::extend(&mut bytes, &instruction.code.to_ne_bytes())?;
                mem::extend(&mut bytes, &[instruction.jt, instruction.jf])?;
                mem::extend(&mut bytes, &instruction.k.to_ne_bytes())?;
            }
            let instructions = self.builder.bytes(&bytes)?;
            let program = self.builder.words(&[filter.program.len() as u64])?;
            self.builder.pointer(instructions)?;
            const SECCOMP_SET_MODE_FILTER: u64 = 1;
            self.builder
                .call(
                    Location::Seccomp,
                    libc::SYS_seccomp,
                    &[SECCOMP_SET_MODE_FILTER.into(), filter.flags.into(), Arg::Data(program)],
                )?
                .index(index);
        }
        self.exec()
    }

    /// A path is exec'd by execve, so that a filter may allow that one call only. Another thread's
    /// fork may still hold the just-written file open: ETXTBSY passes.
    fn exec(&mut self) -> Result<()> {
        let args = self.launch.args.as_ref().unwrap_or(&self.runner.args);
        let env = self.launch.env.as_ref().unwrap_or(&self.runner.env);
        let (argv, envp) = (self.builder.string_array(args)?, self.builder.string_array(env)?);
        let (argv, envp) = (Arg::Data(argv), Arg::Data(envp));
        if let Some(program) = self.exec_slot {
            let empty = self.builder.cstr(c"")?;
            let flags = Arg::from(libc::AT_EMPTY_PATH);
            self.builder
                .add(
                    op::EXEC,
                    Location::Exec,
                    libc::SYS_execveat as u32,
                    &[program.into(), empty, argv, envp, flags],
                )?
                .retry(libc::ETXTBSY);
            return Ok(());
        }
        let path =
            self.launch.exec_path.as_ref().or(self.runner.exec_path.as_ref()).or(args.first());
        let path = self.builder.text(path.map_or(b"", |path| path.bytes()))?;
        self.builder
            .add(op::EXEC, Location::Exec, libc::SYS_execve as u32, &[path, argv, envp])?
            .retry(libc::ETXTBSY);
        Ok(())
    }
}
