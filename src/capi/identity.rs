//! Setters: namespaces, ids, capabilities, names, cgroups.

use core::ffi::{c_char, c_int};

use super::convert::{optional_text, slice};
use super::error::sbx_error;
use super::runner::{sbx_runner, set};
use crate::runner::identity::GROUPS_MAX;

/// New namespaces for the program: any of SBX_NS_*, all at once; replaces the former set. An
/// unknown bit is -EINVAL, none is masked away. See namespaces(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_namespaces(
    runner: *mut sbx_runner,
    flags: u64,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_namespaces(flags)) }
}

/// Enters an existing namespace: `fd` is an open /proc/PID/ns/... file, borrowed and open at every
/// start; `type` is one SBX_NS_*. The user namespace is entered first, whatever the order of the
/// calls. The same type twice is -EINVAL; the same type joined and new is -EINVAL at the start, but
/// for SBX_NS_USER, where the new one is made inside the joined one. See setns(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_join_namespace(
    runner: *mut sbx_runner,
    fd: c_int,
    r#type: u64,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.join_namespace(fd, r#type)) }
}

/// What CLOCK_MONOTONIC or CLOCK_BOOTTIME is ahead of the host's, in the new time namespace
/// (SBX_NS_TIME, else -EINVAL at the start). `sec` may be negative, `nsec` is 0 to 999999999. Once
/// more for the same clock replaces. See time_namespaces(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_time_offset(
    runner: *mut sbx_runner,
    clock: c_int,
    sec: i64,
    nsec: i64,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_time_offset(clock, sec, nsec)) }
}

/// Adds a range to the uid map of the new user namespace: `count` ids from `inside` on are those
/// from `outside` on. At most 340 ranges; count 0, a range past the last id, or an overlap on
/// either side is -EINVAL. Written by the host while the child waits. A host without CAP_SETUID
/// can map only its own uid, as one range of 1. See user_namespaces(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_uid_map(
    runner: *mut sbx_runner,
    inside: u32,
    outside: u32,
    count: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.add_uid_map(inside, outside, count)) }
}

/// The same for the gid map. A host without CAP_SETGID can map only its own gid, and only with
/// setgroups denied: see sbx_set_setgroups.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_gid_map(
    runner: *mut sbx_runner,
    inside: u32,
    outside: u32,
    count: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.add_gid_map(inside, outside, count)) }
}

/// Whether setgroups(2) is allowed in the new user namespace; if not, "deny" is written to
/// /proc/PID/setgroups before the gid map. Not called: allowed where it is needed and possible,
/// denied otherwise. A
/// denial cannot go with a credential that has groups: -EINVAL at the start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_setgroups(
    runner: *mut sbx_runner,
    allow: bool,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.setgroups = Some(allow);
            Ok(())
        })
    }
}

/// Who the program is: real, effective and saved uid and gid, and exactly these `n` supplementary
/// groups (copied; at most 65536), as ids of the program's own user namespace. Needed where the
/// maps of a new user namespace leave the host's own ids out: the start is -EINVAL otherwise, since
/// the program would run as the host's user. UINT32_MAX is not an id: -EINVAL. A change of the kernel's ids is never made in memory that the host shares:
/// such a start is staged or goes through the init. See credentials(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_credential(
    runner: *mut sbx_runner,
    uid: u32,
    gid: u32,
    groups: *const u32,
    n: usize,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.set_credential(uid, gid, slice("credential", groups, n, GROUPS_MAX)?)
        })
    }
}

/// no_new_privs: no exec gives the program or its children more rights, set-user-id bits and file
/// capabilities included. Default: off. See PR_SET_NO_NEW_PRIVS(2const).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_no_new_privs(
    runner: *mut sbx_runner,
    on: bool,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.no_new_privs = on;
            Ok(())
        })
    }
}

/// Every capability set of the program (bounding, permitted, effective, inheritable, ambient)
/// becomes exactly `keep`: bit n is capability n, 0 to 40. 0 drops everything. Securebits are
/// locked as well. Not called: capabilities are left alone. What an unprivileged host cannot empty
/// is said by sbx_process_unenforced. See capabilities(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_caps(
    runner: *mut sbx_runner,
    keep: u64,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_caps(keep)) }
}

/// The host name in the new UTS namespace (SBX_NS_UTS, else -EINVAL at the start): 1 to 64 bytes.
/// NULL: as it is, which is the default. See sethostname(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_hostname(
    runner: *mut sbx_runner,
    name: *const c_char,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_hostname(optional_text(name)?)) }
}

/// The NIS domain name, by the same rules. See setdomainname(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_domainname(
    runner: *mut sbx_runner,
    name: *const c_char,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_domainname(optional_text(name)?)) }
}

/// Brings the interface "lo" up in the new network namespace (SBX_NS_NET, else -EINVAL at the
/// start). Default: off, as the kernel makes it. See netdevice(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_loopback(
    runner: *mut sbx_runner,
    up: bool,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.loopback = up;
            Ok(())
        })
    }
}

/// The cgroup that the program joins before its first instruction: an open directory of cgroup v2,
/// or of a v1 hierarchy. Borrowed, and open at every start. Replaces what was set and added
/// before; -1: none, which is the default. The library never makes, changes or removes it. See
/// cgroups(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_cgroup_fd(
    runner: *mut sbx_runner,
    fd: c_int,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_cgroup_fd(fd)) }
}

/// A further cgroup, of another v1 hierarchy. The same descriptor twice is -EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_cgroup_fd(
    runner: *mut sbx_runner,
    fd: c_int,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.add_cgroup_fd(fd)) }
}

/// The cgroup namespace (SBX_NS_CGROUP) is made after the sync function has run, instead of with
/// the child: whatever cgroup the sync function moves the child to is the root that the program
/// sees. Default: off. See cgroup_namespaces(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_unshare_cgroup_after_sync(
    runner: *mut sbx_runner,
    on: bool,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.unshare_cgroup_after_sync = on;
            Ok(())
        })
    }
}
