//! The steps that prepare the sandbox as a place: namespaces, root, mounts. Run by the embedded program
//! where there is one.

use core::ffi::c_int;

use super::{Joining, Order};
use crate::child::plan::{list, mode, request};
use crate::error::{Location, Result};
use crate::flags::SBX_UNENFORCED_DESCENDANTS;
use crate::mem;
use crate::plan::Shape;
use crate::plan::builder::Arg;
use crate::plan::fds;
use crate::plan::root;
use crate::plan::shape::kernel_uid;

impl Order<'_> {
    /// Before the embedded program is non-dumpable, which makes its own files in /proc root's.
    pub(super) fn oom_score(&mut self) -> Result<()> {
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
    pub(super) fn protect_embedded_program(&mut self) -> Result<()> {
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
                // Orphans come to the init, which kills them; it finds them by this list. One that
                // belongs to another pid namespace would name strangers.
                self.prctl(Location::Subreaper, libc::PR_SET_CHILD_SUBREAPER, 1)?;
                let children = self.builder.slot()?;
                self.builder.header.children_slot = u32::from(children.0);
                let path = if proc_is_ours(self.host.pid) {
                    self.builder.cstr(c"/proc/thread-self/children")?
                } else {
                    self.builder.cstr(c"")?
                };
                let flags = Arg::from(libc::O_RDONLY | libc::O_CLOEXEC);
                let args = [libc::AT_FDCWD.into(), path, flags, 0.into()];
                self.builder
                    .call(Location::Subreaper, libc::SYS_openat, &args)?
                    .out(children)
                    // Without it the init knows only the program itself.
                    .excuse(libc::ENOENT, SBX_UNENFORCED_DESCENDANTS);
                self.init_pid = Some(self.builder.slot()?);
                let slot = self.init_pid.unwrap_or(children);
                self.builder.call(Location::Subreaper, libc::SYS_getpid, &[])?.out(slot);
            }
        }
        Ok(())
    }

    /// While the host's root and /dev are still in sight.
    pub(super) fn open_what_only_the_host_has(&mut self) -> Result<()> {
        // The embedded program's table holds nothing but what is named.
        if self.floor.is_gap && self.shape == Shape::Direct {
            fds::clear_gap(&mut self.builder, self.floor)?;
        }
        let own_mounts = self.runner.makes(libc::CLONE_NEWNS) && !self.unshares_after_joining();
        if own_mounts {
            root::make_private(&mut self.builder)?;
        }
        if fds::needs_dev_null(&self.fds) {
            // Who owns the host's /dev/null could change its mode through an open descriptor: not
            // through one of a read-only mount.
            if own_mounts && kernel_uid(self.runner, self.host) == Some(0) {
                root::cover_dev_null(&mut self.builder)?;
            }
            self.null = Some(fds::open_dev_null(&mut self.builder)?);
        }
        Ok(())
    }

    /// The user namespace first: it gives the right to join the others, and to make new ones in it.
    pub(super) fn join_namespaces(&mut self) -> Result<()> {
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

    /// What belongs to a namespace and not to a process.
    pub(super) fn furnish_namespaces(&mut self) -> Result<()> {
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
                &[socket.into(), libc::SIOCSIFFLAGS.into(), Arg::Data(request)],
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
    pub(super) fn build_root(&mut self) -> Result<()> {
        if !self.runner.mounts.is_empty()
            || !self.launch.binds.is_empty()
            || self.runner.root.is_some()
        {
            let saved = self.builder.slot()?;
            self.builder.call(Location::Umask, libc::SYS_umask, &[0.into()])?.out(saved);
            self.saved_umask = Some(saved);
        }
        let ids = root::ids_to_take(self.runner, self.host);
        if self.unshares_after_joining() && self.runner.makes(libc::CLONE_NEWNS) {
            root::make_private(&mut self.builder)?;
        }
        let patience = self.internal.patience;
        root::add(&mut self.builder, self.runner, self.launch, ids, patience)
    }

    /// In the init shape the program is a child of the embedded program from here on: everything that
    /// belongs to one process comes after this.
    pub(super) fn become_program(&mut self) -> Result<()> {
        if self.shape != Shape::Init {
            return Ok(());
        }
        self.builder.select(list::PROGRAM);
        if let Some(Joining::Clone(fd)) =
            self.internal.cgroups.iter().find(|cgroup| matches!(cgroup, Joining::Clone(_)))
        {
            self.builder.header.spawn_cgroup = *fd;
        }
        self.tie_to_init()?;
        if self.runner.ptrace {
            let pidfd = self.own_pidfd(Location::Ptrace)?;
            self.builder.ask(Location::Ptrace, request::SEIZE, Some(pidfd))?;
            self.builder.close(Location::Ptrace, pidfd)?;
            self.prctl(Location::Dumpable, libc::PR_SET_DUMPABLE, 0)?;
        }
        Ok(())
    }

    /// Without a pid namespace the init's death kills nobody by itself.
    pub(super) fn tie_to_init(&mut self) -> Result<()> {
        let Some(init_pid) = self.init_pid else { return Ok(()) };
        self.prctl(Location::Pdeathsig, libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)?;
        if !self.runner.joins(libc::CLONE_NEWPID as u64) {
            self.builder
                .call(Location::HostGone, libc::SYS_getppid, &[])?
                .expect_slot(init_pid, libc::ESRCH);
        }
        Ok(())
    }
}

/// True if /proc shows the pid namespace of this process.
fn proc_is_ours(pid: c_int) -> bool {
    let mut number = [0u8; 16];
    // SAFETY: a NUL-terminated path, and a buffer with its size.
    let len =
        unsafe { libc::readlink(c"/proc/self".as_ptr(), number.as_mut_ptr().cast(), number.len()) };
    let number = number.get(..len.max(0) as usize).unwrap_or(&[]);
    core::str::from_utf8(number).is_ok_and(|number| number.parse() == Ok(pid))
}
