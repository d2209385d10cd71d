//! The steps that prepare the program's own process, up to its exec.

use super::{Joining, Order};
use crate::child::plan::{mode, op, request};
use crate::error::{Location, Result};
use crate::mem;
use crate::plan::Shape;
use crate::plan::builder::Arg;
use crate::plan::identity;
use crate::plan::landlock;
use crate::plan::{exec_fd, fds};

impl Order<'_> {
    /// The keyring, the session and its terminal are the process's own.
    pub(super) fn session(&mut self) -> Result<()> {
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
        } else if self.shape == Shape::Init || self.runner.makes(libc::CLONE_NEWPID) {
            // A pid namespace does not cut a process group: kill(0) would reach the host.
            self.builder.call(Location::Setpgid, libc::SYS_setpgid, &[0.into(), 0.into()])?;
        }
        if let Some(fd) = self.runner.ctty {
            self.builder.call(
                Location::Ctty,
                libc::SYS_ioctl,
                &[Arg::Fd(fd, "ctty"), libc::TIOCSCTTY.into(), 0.into()],
            )?;
        }
        Ok(())
    }

    /// After everything that opens files. What is still needed later moves above the program's
    /// numbers first, whatever they are; the rest is closed by the exec.
    pub(super) fn file_descriptors(&mut self) -> Result<()> {
        if let Some(fd) = exec_fd(self.runner, self.launch) {
            let moved = fds::move_up(&mut self.builder, Location::FdMap, Arg::Fd(fd, "program"))?;
            self.exec_slot = Some(moved);
        }
        let watches = self.runner.pdeathsig.is_some() || self.runner.credential.is_some();
        if self.internal.host_pidfd >= 0 && self.shape != Shape::Init && watches {
            let host = Arg::Fd(self.internal.host_pidfd, "host");
            self.host_slot = Some(fds::move_up(&mut self.builder, Location::FdMap, host)?);
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

    pub(super) fn process_attributes(&mut self) -> Result<()> {
        // Resolved inside the root even if it is a symlink, and only then entered: a directory outside
        // that some descriptor still leads to is no way to stay there.
        if let Some(path) = &self.runner.workdir {
            let name = self.builder.text(path.bytes())?;
            let workdir = self.builder.slot()?;
            if self.runner.root.is_some() {
                let how = crate::plan::tree::open_how(
                    &mut self.builder,
                    libc::O_PATH | libc::O_DIRECTORY,
                )?;
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
    pub(super) fn give_up_identity(&mut self) -> Result<()> {
        self.unenforced |= identity::add_credentials(
            &mut self.builder,
            self.runner,
            self.host,
            self.raised_ambient,
        )?;
        if self.runner.credential.is_some() {
            // The change of credentials took the parent-death signal away, and what follows waits for
            // the host.
            match self.shape {
                Shape::Init => self.tie_to_init()?,
                _ => self.tie_to_host()?,
            }
        }
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
    pub(super) fn join_cgroups(&mut self) -> Result<()> {
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
    pub(super) fn meet_the_host(&mut self) -> Result<()> {
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
    pub(super) fn last_rights(&mut self) -> Result<()> {
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
    pub(super) fn cut_the_tie(&mut self) -> Result<()> {
        match (self.shape, self.runner.pdeathsig) {
            // The parent is the init, and it is to take the program along; in a pid namespace of its
            // own it does so in any case.
            (Shape::Init, None) => self.tie_to_init(),
            (Shape::Init, Some(signal)) => {
                self.prctl(Location::Pdeathsig, libc::PR_SET_PDEATHSIG, signal as u64)
            }
            (_, None) => self.prctl(Location::Pdeathsig, libc::PR_SET_PDEATHSIG, 0),
            (_, Some(signal)) => {
                self.prctl(Location::Pdeathsig, libc::PR_SET_PDEATHSIG, signal as u64)?;
                self.host_is_alive()
            }
        }
    }

    /// The filter is the last thing before the exec: what it denies must not be needed any more.
    pub(super) fn stop_filter_exec(&mut self) -> Result<()> {
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
    pub(super) fn exec(&mut self) -> Result<()> {
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
