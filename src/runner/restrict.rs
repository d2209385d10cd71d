//! Setters: landlock(7) and seccomp(2).

use super::{Filter, LandlockPath, LandlockPort, Runner, valid};
use crate::error::{Error, Result};
use crate::flags::{SBX_LANDLOCK_BEST_EFFORT, SBX_MOUNT_OPTIONAL};
use crate::mem::{self, Text};

/// LANDLOCK_ACCESS_FS_EXECUTE to LANDLOCK_ACCESS_FS_IOCTL_DEV (ABI 5).
const LANDLOCK_FS: u64 = (1 << 16) - 1;
/// LANDLOCK_ACCESS_NET_BIND_TCP and _CONNECT_TCP (ABI 4).
const LANDLOCK_NET: u64 = 0b11;
/// LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and _SIGNAL (ABI 6).
const LANDLOCK_SCOPE: u64 = 0b11;
/// BPF_MAXINSNS.
pub const INSNS_MAX: usize = 4096;

/// Classic BPF's instruction classes and the one jump without a condition (linux/bpf_common.h).
const BPF_CLASS: u16 = 0x07;
const BPF_JMP: u16 = 0x05;
const BPF_RET: u16 = 0x06;
const BPF_JA: u16 = BPF_JMP;

/// The bits of one kind of access, at least one.
fn check_access(name: &str, access: u64, known: u64) -> Result<()> {
    if access == 0 {
        return Err(Error::invalid(format_args!("{name}: a rule that allows nothing")));
    }
    valid::bits(name, access, known)
}

/// What seccomp(2) would refuse without a word: the shape of the program. Unknown instructions are
/// left to the kernel, which knows its own.
fn check_filter(program: &[libc::sock_filter]) -> Result<()> {
    if !(1..=INSNS_MAX).contains(&program.len()) {
        return Err(Error::invalid(format_args!(
            "bpf: {} instructions are not between 1 and {INSNS_MAX}",
            program.len()
        )));
    }
    for (at, insn) in program.iter().enumerate() {
        let furthest = match insn.code {
            BPF_JA => insn.k as usize,
            code if code & BPF_CLASS == BPF_JMP => usize::from(insn.jt.max(insn.jf)),
            _ => continue,
        };
        // `at` and the length are at most 4096; a jump of 32 bits may still be more than usize holds.
        if furthest >= program.len() - at - 1 {
            return Err(Error::invalid(format_args!(
                "bpf: the jump in instruction {at} leads outside"
            ))
            .index(at));
        }
    }
    if program.last().is_none_or(|last| last.code & BPF_CLASS != BPF_RET) {
        return Err(Error::invalid(format_args!("bpf: the last instruction does not return"))
            .index(program.len() - 1));
    }
    Ok(())
}

/// A filter of our own from the caller's.
fn filter(program: &[libc::sock_filter], flags: u32) -> Result<Filter> {
    let known = libc::SECCOMP_FILTER_FLAG_LOG | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    valid::bits("bpf", flags.into(), known)?;
    check_filter(program)?;
    Ok(Filter { program: mem::copy(program)?, flags })
}

impl Runner {
    /// What Landlock denies unless a rule allows it; the rules stay.
    pub fn set_landlock(
        &mut self,
        handled_fs: u64,
        handled_net: u64,
        scoped: u64,
        flags: u32,
    ) -> Result<()> {
        valid::bits("landlock", flags.into(), SBX_LANDLOCK_BEST_EFFORT.into())?;
        valid::bits("landlock", handled_fs, LANDLOCK_FS)?;
        valid::bits("landlock", handled_net, LANDLOCK_NET)?;
        valid::bits("landlock", scoped, LANDLOCK_SCOPE)?;
        self.landlock.handled_fs = handled_fs;
        self.landlock.handled_net = handled_net;
        self.landlock.scoped = scoped;
        self.landlock.best_effort = flags & SBX_LANDLOCK_BEST_EFFORT != 0;
        Ok(())
    }

    /// Allows something beneath a path.
    pub fn add_landlock_path(&mut self, path: &Text, access: u64, flags: u32) -> Result<()> {
        valid::bits("landlock_path", flags.into(), SBX_MOUNT_OPTIONAL.into())?;
        check_access("landlock_path", access, LANDLOCK_FS)?;
        let path = valid::inside("landlock_path", path)?;
        let optional = flags & SBX_MOUNT_OPTIONAL != 0;
        Ok(mem::push(&mut self.landlock.paths, LandlockPath { path, access, optional })?)
    }

    /// Allows something with a TCP port.
    pub fn add_landlock_port(&mut self, port: u16, access: u64) -> Result<()> {
        check_access("landlock_port", access, LANDLOCK_NET)?;
        Ok(mem::push(&mut self.landlock.ports, LandlockPort { port, access })?)
    }

    /// Replaces all filters by this one; None: by nothing.
    pub fn set_bpf(&mut self, program: Option<&[libc::sock_filter]>, flags: u32) -> Result<()> {
        let mut filters = Vec::new();
        if let Some(program) = program {
            mem::push(&mut filters, filter(program, flags)?)?;
        } else {
            valid::bits("bpf", flags.into(), 0)?;
        }
        self.filters = filters;
        Ok(())
    }

    /// Adds a filter, loaded after the others, and asked before them.
    pub fn add_bpf(&mut self, program: &[libc::sock_filter], flags: u32) -> Result<()> {
        let filter = filter(program, flags)?;
        Ok(mem::push(&mut self.filters, filter)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::valid::tests::{refused, text};
    use super::*;

    fn insn(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter { code, jt, jf, k }
    }

    fn allow() -> libc::sock_filter {
        insn(BPF_RET, 0, 0, 0x7fff_0000)
    }

    #[test]
    fn filters() {
        let mut runner = Runner::default();
        let (jump_if, jump) = (|jt, jf| insn(0x15, jt, jf, 0), |k| insn(BPF_JA, 0, 0, k));
        runner.set_bpf(Some(&[jump_if(1, 0), allow(), allow()]), 2).unwrap();
        runner.add_bpf(&[jump(1), allow(), allow()], 4).unwrap();
        runner.add_bpf(&vec![allow(); 4096], 0).unwrap();
        for bad in [
            vec![],
            vec![allow(); 4097],
            vec![insn(0x20, 0, 0, 0)],
            vec![allow(), jump(0)],
            vec![jump_if(2, 0), allow(), allow()],
            vec![jump_if(0, 255), allow(), allow()],
            vec![jump(2), allow(), allow()],
            vec![jump(u32::MAX), allow(), allow()],
        ] {
            refused(runner.add_bpf(&bad, 0), libc::EINVAL, "bpf");
            refused(runner.set_bpf(Some(&bad), 0), libc::EINVAL, "bpf");
        }
        for flags in [1, 8, 16, 1 << 31] {
            refused(runner.add_bpf(&[allow()], flags), libc::EINVAL, "bpf");
        }
        assert_eq!(runner.filters.len(), 3);
        runner.set_bpf(None, 0).unwrap();
        assert!(runner.filters.is_empty());
    }

    #[test]
    fn landlock() {
        let mut runner = Runner::default();
        runner.set_landlock(0xffff, 3, 3, SBX_LANDLOCK_BEST_EFFORT).unwrap();
        assert!(runner.uses_landlock() && runner.landlock.best_effort);
        refused(runner.set_landlock(1 << 16, 0, 0, 0), libc::EINVAL, "landlock");
        refused(runner.set_landlock(0, 4, 0, 0), libc::EINVAL, "landlock");
        refused(runner.set_landlock(0, 0, 4, 0), libc::EINVAL, "landlock");
        refused(runner.set_landlock(0, 0, 0, 2), libc::EINVAL, "landlock");
        assert_eq!(runner.landlock.handled_fs, 0xffff);
        runner.add_landlock_path(&text("//usr/"), 1, SBX_MOUNT_OPTIONAL).unwrap();
        runner.add_landlock_path(&text("/"), 1, 0).unwrap();
        refused(runner.add_landlock_path(&text("/"), 0, 0), libc::EINVAL, "landlock_path");
        refused(runner.add_landlock_path(&text("/"), 1 << 16, 0), libc::EINVAL, "landlock_path");
        refused(runner.add_landlock_path(&text("/"), 1, 1), libc::EINVAL, "landlock_path");
        refused(runner.add_landlock_path(&text("usr"), 1, 0), libc::EINVAL, "landlock_path");
        assert_eq!(runner.landlock.paths.len(), 2);
        runner.add_landlock_port(0, 3).unwrap();
        refused(runner.add_landlock_port(1, 0), libc::EINVAL, "landlock_port");
        refused(runner.add_landlock_port(1, 4), libc::EINVAL, "landlock_port");
        assert_eq!(runner.landlock.ports.len(), 1);
    }
}
