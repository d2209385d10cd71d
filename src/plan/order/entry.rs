//! The first steps: run by the cloned child, in memory that it shares with the host.

use core::ffi::c_int;

use super::{Joining, Order};
use crate::child::plan::{op, request};
use crate::error::{Location, Result};
use crate::flags::SBX_NS_TIME;
use crate::mem;
use crate::plan::Shape;
use crate::plan::builder::Arg;
use crate::plan::identity;
use crate::plan::{exec_fd, fds};

impl Order<'_> {
    /// First of all: if the host dies from here on, so does the child. The signal works from the
    /// moment it is set; a host that died before is found by looking.
    pub(super) fn tie_to_host(&mut self) -> Result<()> {
        self.prctl(Location::Pdeathsig, libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)?;
        self.host_is_alive()
    }

    pub(super) fn host_is_alive(&mut self) -> Result<()> {
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
        if let Some(moved) = self.host_slot {
            let args = [Arg::Data(polled), moved.into()];
            self.builder.add(op::STORE, Location::HostGone, 0, &args)?;
        }
        let now = Arg::Data(self.builder.words(&[0, 0])?);
        let args = [Arg::Data(polled), 1.into(), now, 0.into(), 0.into()];
        self.builder.call(Location::HostGone, libc::SYS_ppoll, &args)?.expect(0, libc::ESRCH);
        Ok(())
    }

    /// A real-time policy first: spinning under it could starve the host on its own CPU. Then signals:
    /// the host's handlers do not exist in the program, and what the host ignores (SIGPIPE in Python,
    /// SIGHUP under nohup) an exec would leave ignored. All are blocked until right before the filter.
    pub(super) fn reset_signals_and_scheduling(&mut self) -> Result<()> {
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
    pub(super) fn new_namespaces_get_their_maps(&mut self) -> Result<()> {
        if self.runner.namespaces & SBX_NS_TIME != 0 {
            self.builder.call(Location::Unshare, libc::SYS_unshare, &[SBX_NS_TIME.into()])?;
        }
        let maps = self.new_user_namespace() && !self.unshares_after_joining();
        if maps || !self.runner.time_offsets.is_empty() {
            self.builder.ask(Location::Maps, request::MAPS, None)?;
        }
        Ok(())
    }

    /// The embedded program gets its capabilities as ambient, since an exec by a uid other than 0
    /// drops them, and the descriptors that the plan names. It is exec'd before any identity changes.
    pub(super) fn exec_embedded_program(&mut self) -> Result<()> {
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
        add(exec_fd(self.runner, self.launch).unwrap_or(-1), "program")?;
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
}
