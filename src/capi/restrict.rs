//! Setters: Landlock and seccomp.

use core::ffi::{c_char, c_int};

use libc::sock_filter;

use super::convert::{slice, text};
use super::error::sbx_error;
use super::runner::{sbx_runner, set};
use crate::runner::restrict::INSNS_MAX;

/// What Landlock denies unless a rule allows it: LANDLOCK_ACCESS_FS_*, LANDLOCK_ACCESS_NET_* and
/// LANDLOCK_SCOPE_* bits, those known up to ABI 6; others are -EINVAL. Replaces the former masks;
/// the rules stay. All 0: no Landlock, which is the default. What this kernel lacks fails the
/// start, unless `flags` has SBX_LANDLOCK_BEST_EFFORT. Needs no_new_privs or a kept CAP_SYS_ADMIN.
/// See landlock(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_landlock(
    runner: *mut sbx_runner,
    handled_fs: u64,
    handled_net: u64,
    scoped: u64,
    flags: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| runner.set_landlock(handled_fs, handled_net, scoped, flags))
    }
}

/// Allows `access` (LANDLOCK_ACCESS_FS_*, part of handled_fs, else -EINVAL at the start) to `path`
/// and what is beneath it. The path is absolute, without "..", and is looked up inside the
/// sandbox. With SBX_MOUNT_OPTIONAL a path that cannot be opened is skipped, and
/// SBX_UNENFORCED_MOUNT says so.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_landlock_path(
    runner: *mut sbx_runner,
    path: *const c_char,
    access: u64,
    flags: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.add_landlock_path(&text("landlock_path", path)?, access, flags)
        })
    }
}

/// Allows `access` (LANDLOCK_ACCESS_NET_*, part of handled_net, else -EINVAL at the start) with
/// this TCP port.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_landlock_port(
    runner: *mut sbx_runner,
    port: u16,
    access: u64,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.add_landlock_port(port, access)) }
}

/// The seccomp filter: `n` instructions (1 to 4096), copied; replaces all former filters. NULL and
/// 0: none, which is the default. Loaded as the last step before exec, which it must allow. Flags:
/// SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW.
///
/// A filter is loaded as it is: whether it checks the architecture is its author's business.
/// Without no_new_privs and without a kept CAP_SYS_ADMIN the start is -EINVAL. See seccomp(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_bpf(
    runner: *mut sbx_runner,
    insns: *const sock_filter,
    n: usize,
    flags: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            if insns.is_null() && n == 0 {
                return runner.set_bpf(None, flags);
            }
            runner.set_bpf(Some(slice("bpf", insns, n, INSNS_MAX)?), flags)
        })
    }
}

/// Stacks one more filter. All are asked for each call, the last added first; the strictest answer
/// holds. A filter must allow the seccomp(2) by which those added after it are loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_bpf(
    runner: *mut sbx_runner,
    insns: *const sock_filter,
    n: usize,
    flags: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| runner.add_bpf(slice("bpf", insns, n, INSNS_MAX)?, flags))
    }
}
