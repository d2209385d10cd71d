//! Setters: namespaces(7), the id maps of user_namespaces(7), credentials(7), capabilities(7),
//! names, and the cgroups that are joined.

use core::ffi::c_int;

use super::{Credential, IdMap, JoinedNamespace, Runner, TimeOffset, valid};
use crate::error::{Error, Result};
use crate::flags::{
    SBX_NS_CGROUP, SBX_NS_IPC, SBX_NS_MNT, SBX_NS_NET, SBX_NS_PID, SBX_NS_TIME, SBX_NS_USER,
    SBX_NS_UTS,
};
use crate::mem::{self, Text};

/// Every namespace there is.
const NAMESPACES: u64 = SBX_NS_TIME
    | SBX_NS_MNT
    | SBX_NS_CGROUP
    | SBX_NS_UTS
    | SBX_NS_IPC
    | SBX_NS_USER
    | SBX_NS_PID
    | SBX_NS_NET;
/// UID_GID_MAP_MAX_EXTENTS.
const MAP_MAX: usize = 340;
/// NGROUPS_MAX.
pub const GROUPS_MAX: usize = 65536;
/// CAP_CHECKPOINT_RESTORE, the last capability.
const CAP_LAST: u32 = 40;
/// __NEW_UTS_LEN.
const NAME_MAX: usize = 64;
/// KTIME_SEC_MAX: the kernel keeps an offset in nanoseconds, in 63 bits.
const OFFSET_MAX: i64 = i64::MAX / 1_000_000_000;
/// More hierarchies than cgroup v1 has controllers.
const CGROUPS_MAX: usize = 64;
/// The id that means "no id" to the kernel.
const NO_ID: u32 = u32::MAX;

/// Whether two ranges of the same length share an id.
fn overlap(a: u32, a_count: u32, b: u32, b_count: u32) -> bool {
    let (a, b) = (u64::from(a), u64::from(b));
    a < b + u64::from(b_count) && b < a + u64::from(a_count)
}

/// Adds a range to an id map, under the kernel's rules for one.
fn add_map(name: &str, map: &mut Vec<IdMap>, range: IdMap) -> Result<()> {
    let IdMap { inside, outside, count } = range;
    if count == 0 {
        return Err(Error::invalid(format_args!("{name}: the count is 0")));
    }
    if inside.checked_add(count).is_none() || outside.checked_add(count).is_none() {
        return Err(Error::invalid(format_args!("{name}: the range reaches past the last id")));
    }
    if map.len() >= MAP_MAX {
        return Err(Error::invalid(format_args!("{name}: more than {MAP_MAX} ranges")));
    }
    if map.iter().any(|other| overlap(other.inside, other.count, inside, count)) {
        return Err(Error::invalid(format_args!("{name}: two ranges overlap inside")));
    }
    if map.iter().any(|other| overlap(other.outside, other.count, outside, count)) {
        return Err(Error::invalid(format_args!("{name}: two ranges overlap outside")));
    }
    Ok(mem::push(map, range)?)
}

/// A host or domain name.
fn check_name(name: &str, text: &Option<Text>) -> Result<()> {
    text.as_ref().map_or(Ok(()), |text| valid::word(name, text, NAME_MAX))
}

impl Runner {
    /// New namespaces.
    pub fn set_namespaces(&mut self, flags: u64) -> Result<()> {
        valid::bits("namespaces", flags, NAMESPACES)?;
        self.namespaces = flags;
        Ok(())
    }

    /// An existing namespace; each type once.
    pub fn join_namespace(&mut self, fd: c_int, kind: u64) -> Result<()> {
        valid::bits("join_namespace", kind, NAMESPACES)?;
        if kind.count_ones() != 1 {
            return Err(Error::invalid(format_args!(
                "join_namespace: one namespace type at a time"
            )));
        }
        if self.joined.iter().any(|other| other.kind == kind) {
            return Err(Error::invalid(format_args!(
                "join_namespace: type {kind:#x} is joined twice"
            )));
        }
        valid::open_fd("join_namespace", fd)?;
        Ok(mem::push(&mut self.joined, JoinedNamespace { fd, kind })?)
    }

    /// A clock's offset in the new time namespace; replaces the clock's former one.
    pub fn set_time_offset(&mut self, clock: c_int, seconds: i64, nanoseconds: i64) -> Result<()> {
        if clock != libc::CLOCK_MONOTONIC && clock != libc::CLOCK_BOOTTIME {
            return Err(Error::invalid(format_args!("time_offset: clock {clock} has no offset")));
        }
        if !(-OFFSET_MAX..=OFFSET_MAX).contains(&seconds) {
            return Err(Error::invalid(format_args!(
                "time_offset: {seconds} seconds are too many"
            )));
        }
        if !(0..1_000_000_000).contains(&nanoseconds) {
            return Err(Error::invalid(format_args!(
                "time_offset: {nanoseconds} nanoseconds are not between 0 and 999999999"
            )));
        }
        let offset = TimeOffset { clock, seconds, nanoseconds };
        match self.time_offsets.iter_mut().find(|other| other.clock == clock) {
            Some(former) => *former = offset,
            None => mem::push(&mut self.time_offsets, offset)?,
        }
        Ok(())
    }

    /// Adds a range to the uid map.
    pub fn add_uid_map(&mut self, inside: u32, outside: u32, count: u32) -> Result<()> {
        add_map("uid_map", &mut self.uid_map, IdMap { inside, outside, count })
    }

    /// Adds a range to the gid map.
    pub fn add_gid_map(&mut self, inside: u32, outside: u32, count: u32) -> Result<()> {
        add_map("gid_map", &mut self.gid_map, IdMap { inside, outside, count })
    }

    /// Who the program is, in the ids of its own user namespace.
    pub fn set_credential(&mut self, uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
        if uid == NO_ID || gid == NO_ID {
            return Err(Error::invalid(format_args!("credential: {NO_ID} is not an id")));
        }
        if groups.len() > GROUPS_MAX {
            return Err(Error::invalid(format_args!("credential: more than {GROUPS_MAX} groups")));
        }
        if let Some(at) = groups.iter().position(|&group| group == NO_ID) {
            return Err(
                Error::invalid(format_args!("credential: {NO_ID} is not a group")).index(at)
            );
        }
        self.credential = Some(Credential { uid, gid, groups: mem::copy(groups)? });
        Ok(())
    }

    /// The capabilities to keep, as bits.
    pub fn set_caps(&mut self, keep: u64) -> Result<()> {
        let known = (1 << (CAP_LAST + 1)) - 1;
        if keep & !known != 0 {
            return Err(Error::invalid(format_args!(
                "caps: there is no capability above {CAP_LAST}"
            )));
        }
        self.caps = Some(keep);
        Ok(())
    }

    /// Host name; None: as it is.
    pub fn set_hostname(&mut self, name: Option<Text>) -> Result<()> {
        check_name("hostname", &name)?;
        self.hostname = name;
        Ok(())
    }

    /// NIS domain name; None: as it is.
    pub fn set_domainname(&mut self, name: Option<Text>) -> Result<()> {
        check_name("domainname", &name)?;
        self.domainname = name;
        Ok(())
    }

    /// The cgroup to join, as a directory; replaces all former ones; -1: none.
    pub fn set_cgroup_fd(&mut self, fd: c_int) -> Result<()> {
        let fd = valid::open_fd_or_none("cgroup_fd", fd)?;
        self.cgroup_fds = match fd {
            Some(fd) => mem::copy(&[fd])?,
            None => Vec::new(),
        };
        Ok(())
    }

    /// A further cgroup, of another v1 hierarchy.
    pub fn add_cgroup_fd(&mut self, fd: c_int) -> Result<()> {
        valid::open_fd("cgroup_fd", fd)?;
        if self.cgroup_fds.contains(&fd) {
            return Err(Error::invalid(format_args!("cgroup_fd: descriptor {fd} is given twice")));
        }
        if self.cgroup_fds.len() >= CGROUPS_MAX {
            return Err(Error::invalid(format_args!("cgroup_fd: more than {CGROUPS_MAX} cgroups")));
        }
        Ok(mem::push(&mut self.cgroup_fds, fd)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::valid::tests::{refused, text};
    use super::*;

    #[test]
    fn the_bits_are_the_kernels() {
        let kernel = libc::CLONE_NEWNS
            | libc::CLONE_NEWCGROUP
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUSER
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET
            | 0x80; // CLONE_NEWTIME
        assert_eq!(NAMESPACES, kernel as u64);
    }

    #[test]
    fn namespaces() {
        let mut runner = Runner::default();
        runner.set_namespaces(NAMESPACES).unwrap();
        refused(runner.set_namespaces(1), libc::EINVAL, "namespaces");
        refused(runner.set_namespaces(SBX_NS_PID | 1 << 31), libc::EINVAL, "namespaces");
        refused(runner.set_namespaces(u64::MAX), libc::EINVAL, "namespaces");
        assert_eq!(runner.namespaces, NAMESPACES);

        runner.join_namespace(0, SBX_NS_NET).unwrap();
        refused(runner.join_namespace(1, SBX_NS_NET), libc::EINVAL, "join_namespace");
        refused(runner.join_namespace(0, 0), libc::EINVAL, "join_namespace");
        refused(runner.join_namespace(0, SBX_NS_UTS | SBX_NS_IPC), libc::EINVAL, "join_namespace");
        refused(runner.join_namespace(-1, SBX_NS_UTS), libc::EINVAL, "join_namespace");
        refused(runner.join_namespace(999_999, SBX_NS_UTS), libc::EBADF, "join_namespace");
        assert_eq!(runner.joined.len(), 1);
    }

    #[test]
    fn time_offsets() {
        let mut runner = Runner::default();
        runner.set_time_offset(libc::CLOCK_MONOTONIC, -5, 999_999_999).unwrap();
        runner.set_time_offset(libc::CLOCK_MONOTONIC, 6, 0).unwrap();
        runner.set_time_offset(libc::CLOCK_BOOTTIME, 7, 0).unwrap();
        for (clock, seconds, nanoseconds) in [
            (libc::CLOCK_REALTIME, 0, 0),
            (-1, 0, 0),
            (1, 0, 1_000_000_000),
            (1, 0, -1),
            (1, i64::MAX, 0),
            (1, i64::MIN, 0),
        ] {
            refused(
                runner.set_time_offset(clock, seconds, nanoseconds),
                libc::EINVAL,
                "time_offset",
            );
        }
        let seconds: Vec<i64> = runner.time_offsets.iter().map(|offset| offset.seconds).collect();
        assert_eq!(seconds, [6, 7]);
    }

    #[test]
    fn id_maps() {
        let mut runner = Runner::default();
        runner.add_uid_map(0, 100_000, 10).unwrap();
        runner.add_uid_map(10, 100_010, 10).unwrap();
        runner.add_uid_map(u32::MAX - 1, u32::MAX - 1, 1).unwrap();
        for (inside, outside, count) in [
            (50, 50, 0),
            (50, u32::MAX, 1),
            (u32::MAX, 50, 1),
            (2, 50, u32::MAX),
            (9, 50, 1),
            (5, 50, 100),
            (50, 100_019, 1),
            (50, 99_999, 2),
        ] {
            refused(runner.add_uid_map(inside, outside, count), libc::EINVAL, "uid_map");
        }
        assert_eq!(runner.uid_map.len(), 3);
        for id in 0..340 {
            runner.add_gid_map(id, id, 1).unwrap();
        }
        refused(runner.add_gid_map(340, 340, 1), libc::EINVAL, "gid_map");
    }

    #[test]
    fn credentials() {
        let mut runner = Runner::default();
        runner.set_credential(1, 2, &[3]).unwrap();
        refused(runner.set_credential(NO_ID, 2, &[]), libc::EINVAL, "credential");
        refused(runner.set_credential(1, NO_ID, &[]), libc::EINVAL, "credential");
        let error = refused(runner.set_credential(1, 2, &[5, NO_ID]), libc::EINVAL, "credential");
        assert_eq!(error.index, 1);
        refused(runner.set_credential(1, 2, &[0; GROUPS_MAX + 1]), libc::EINVAL, "credential");
        assert_eq!(runner.credential.as_ref().unwrap().groups, [3]);
        runner.set_caps((1 << 41) - 1).unwrap();
        refused(runner.set_caps(1 << 41), libc::EINVAL, "caps");
        refused(runner.set_caps(u64::MAX), libc::EINVAL, "caps");
        assert_eq!(runner.caps, Some((1 << 41) - 1));
    }

    #[test]
    fn names() {
        let mut runner = Runner::default();
        runner.set_hostname(Some(text(&"h".repeat(64)))).unwrap();
        refused(runner.set_hostname(Some(text(&"h".repeat(65)))), libc::EINVAL, "hostname");
        refused(runner.set_hostname(Some(text(""))), libc::EINVAL, "hostname");
        assert_eq!(runner.hostname.as_ref().unwrap().bytes().len(), 64);
        runner.set_hostname(None).unwrap();
        refused(runner.set_domainname(Some(text(""))), libc::EINVAL, "domainname");
    }

    #[test]
    fn cgroups() {
        let mut runner = Runner::default();
        runner.add_cgroup_fd(0).unwrap();
        runner.add_cgroup_fd(1).unwrap();
        refused(runner.add_cgroup_fd(1), libc::EINVAL, "cgroup_fd");
        refused(runner.add_cgroup_fd(-1), libc::EINVAL, "cgroup_fd");
        refused(runner.set_cgroup_fd(999_999), libc::EBADF, "cgroup_fd");
        assert_eq!(runner.cgroup_fds, [0, 1]);
        runner.set_cgroup_fd(1).unwrap();
        assert_eq!(runner.cgroup_fds, [1]);
        runner.set_cgroup_fd(-1).unwrap();
        assert!(runner.cgroup_fds.is_empty());
    }
}
