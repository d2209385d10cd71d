//! Copies of a runner, without `Clone`, which would abort when memory runs out.

use super::{Credential, Filter, Landlock, LandlockPath, Mount, MountKind, Root, Runner};
use crate::mem::{self, Result, TryClone};

impl TryClone for Runner {
    fn try_clone(&self) -> Result<Self> {
        // Every field by name: a new one that is forgotten here does not compile.
        Ok(Runner {
            args: self.args.try_clone()?,
            env: self.env.try_clone()?,
            exec_path: self.exec_path.try_clone()?,
            exec_fd: self.exec_fd,
            workdir: self.workdir.try_clone()?,
            fds: mem::copy(&self.fds)?,
            ctty: self.ctty,
            rlimits: mem::copy(&self.rlimits)?,
            umask: self.umask,
            affinity: self.affinity.try_clone()?,
            nice: self.nice,
            scheduler: self.scheduler,
            oom_score_adj: self.oom_score_adj,
            no_aslr: self.no_aslr,
            pdeathsig: self.pdeathsig,
            setsid: self.setsid,
            session_keyring: self.session_keyring,
            namespaces: self.namespaces,
            joined: mem::copy(&self.joined)?,
            time_offsets: mem::copy(&self.time_offsets)?,
            uid_map: mem::copy(&self.uid_map)?,
            gid_map: mem::copy(&self.gid_map)?,
            setgroups: self.setgroups,
            credential: self.credential.try_clone()?,
            no_new_privs: self.no_new_privs,
            caps: self.caps,
            hostname: self.hostname.try_clone()?,
            domainname: self.domainname.try_clone()?,
            loopback: self.loopback,
            cgroup_fds: mem::copy(&self.cgroup_fds)?,
            unshare_cgroup_after_sync: self.unshare_cgroup_after_sync,
            root: self.root.try_clone()?,
            mounts: self.mounts.try_clone()?,
            landlock: self.landlock.try_clone()?,
            filters: self.filters.try_clone()?,
            sync_func: self.sync_func,
            ptrace: self.ptrace,
            stop_before_seccomp: self.stop_before_seccomp,
            init: self.init,
            staged: self.staged,
            spare: Default::default(),
        })
    }
}

impl TryClone for Credential {
    fn try_clone(&self) -> Result<Self> {
        Ok(Credential { uid: self.uid, gid: self.gid, groups: mem::copy(&self.groups)? })
    }
}

impl TryClone for Root {
    fn try_clone(&self) -> Result<Self> {
        Ok(Root { kind: self.kind, path: self.path.try_clone()?, writable: self.writable })
    }
}

impl TryClone for Mount {
    fn try_clone(&self) -> Result<Self> {
        Ok(Mount {
            target: self.target.try_clone()?,
            flags: self.flags,
            kind: self.kind.try_clone()?,
        })
    }
}

impl TryClone for MountKind {
    fn try_clone(&self) -> Result<Self> {
        Ok(match self {
            MountKind::Raw { source, fstype, flags, data } => MountKind::Raw {
                source: source.try_clone()?,
                fstype: fstype.try_clone()?,
                flags: *flags,
                data: data.try_clone()?,
            },
            MountKind::Bind { source } => MountKind::Bind { source: source.try_clone()? },
            &MountKind::Tmpfs { bytes, inodes, mode } => MountKind::Tmpfs { bytes, inodes, mode },
            MountKind::Proc => MountKind::Proc,
            MountKind::Dev => MountKind::Dev,
            MountKind::Overlay { lower, upper } => MountKind::Overlay {
                lower: lower.try_clone()?,
                upper: match upper {
                    Some((upper, work)) => Some((upper.try_clone()?, work.try_clone()?)),
                    None => None,
                },
            },
            MountKind::Symlink { text } => MountKind::Symlink { text: text.try_clone()? },
            MountKind::File { data, mode } => {
                MountKind::File { data: mem::copy(data)?, mode: *mode }
            }
            &MountKind::Dir { mode } => MountKind::Dir { mode },
            MountKind::Mask => MountKind::Mask,
        })
    }
}

impl TryClone for Landlock {
    fn try_clone(&self) -> Result<Self> {
        Ok(Landlock {
            handled_fs: self.handled_fs,
            handled_net: self.handled_net,
            scoped: self.scoped,
            best_effort: self.best_effort,
            paths: self.paths.try_clone()?,
            ports: mem::copy(&self.ports)?,
        })
    }
}

impl TryClone for LandlockPath {
    fn try_clone(&self) -> Result<Self> {
        Ok(LandlockPath {
            path: self.path.try_clone()?,
            access: self.access,
            optional: self.optional,
        })
    }
}

impl TryClone for Filter {
    fn try_clone(&self) -> Result<Self> {
        Ok(Filter { program: mem::copy(&self.program)?, flags: self.flags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::valid::tests::text;

    /// Everything of a runner that owns memory, as text.
    fn print(runner: &Runner) -> String {
        let Runner { args, env, exec_path, workdir, fds, affinity, .. } = runner;
        let Runner { rlimits, joined, time_offsets, uid_map, gid_map, credential, .. } = runner;
        let Runner { hostname, domainname, cgroup_fds, root, mounts, landlock, filters, .. } =
            runner;
        format!("{args:?} {env:?} {exec_path:?} {workdir:?} {fds:?} {affinity:?} {rlimits:?} ")
            + &format!("{joined:?} {time_offsets:?} {uid_map:?} {gid_map:?} {credential:?} ")
            + &format!("{hostname:?} {domainname:?} {cgroup_fds:?} {root:?} {mounts:?} ")
            + &format!("{landlock:?} {filters:?}")
    }

    #[test]
    fn a_copy_says_the_same_and_shares_nothing() {
        let mut runner = Runner::default();
        let ret = libc::sock_filter { code: 6, jt: 0, jf: 0, k: 7 };
        let fill = |runner: &mut Runner| {
            runner.set_args(vec![text("a"), text("b")])?;
            runner.set_env(vec![text("A=1")])?;
            runner.set_exec_path(Some(text("/p")))?;
            runner.set_workdir(Some(text("/w")))?;
            runner.set_fds(&[0, -1, 2])?;
            runner.set_cpu_affinity(&[3])?;
            runner.add_rlimit(1, 2, 3)?;
            runner.join_namespace(0, 1 << 30)?;
            runner.set_time_offset(1, 2, 3)?;
            runner.add_uid_map(0, 1, 2)?;
            runner.add_gid_map(3, 4, 5)?;
            runner.set_credential(6, 7, &[8, 9])?;
            runner.set_hostname(Some(text("h")))?;
            runner.set_domainname(Some(text("d")))?;
            runner.set_cgroup_fd(0)?;
            runner.set_pivot_root(Some(text("/r")), 1)?;
            runner.add_mount(
                Some(text("s")),
                &text("/1"),
                Some(text("t")),
                1,
                Some(text("d")),
                2,
            )?;
            runner.add_bind(text("/s"), &text("/2"), 1)?;
            runner.add_tmpfs(&text("/3"), 1, 2, 3, 4)?;
            runner.add_proc(&text("/4"), 1)?;
            runner.add_dev(&text("/5"), 2)?;
            let upper = (Some(text("/u")), Some(text("/w")));
            runner.add_overlay(vec![text("/l"), text("/m")], upper.0, upper.1, &text("/6"), 0)?;
            runner.add_symlink(text("s"), &text("/7"), 0)?;
            runner.add_file(&text("/8"), b"data", 0o600, 0)?;
            runner.add_dir(&text("/9"), 0o700, 0)?;
            runner.add_mask(&text("/10"), 0)?;
            runner.set_landlock(1, 2, 3, 1)?;
            runner.add_landlock_path(&text("/l"), 1, 2)?;
            runner.add_landlock_port(80, 1)?;
            runner.add_bpf(&[ret], 2)
        };
        fill(&mut runner).unwrap();
        let copy = runner.try_clone().unwrap();
        let before = print(&runner);
        assert_eq!(print(&copy), before);

        runner.set_args(vec![text("other")]).unwrap();
        runner.add_dir(&text("/11"), 0o700, 0).unwrap();
        drop(runner);
        assert_eq!(print(&copy), before);
    }
}
