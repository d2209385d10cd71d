//! Setters: which program, with what in its hands.

use core::ffi::{c_char, c_int};

use super::convert::{optional_text, slice, texts};
use super::error::sbx_error;
use super::runner::{sbx_runner, set};
use crate::runner::valid::FDS_MAX;

/// argv: NULL-terminated, copied; argv[0] is not empty. Its size is limited by the kernel alone:
/// E2BIG at the start. See execve(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_args(
    runner: *mut sbx_runner,
    argv: *const *const c_char,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_args(texts("args", argv)?)) }
}

/// The environment, "NAME=value" each: NULL-terminated, copied. NULL: empty, which is the default.
/// The host's environment is never inherited.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_env(
    runner: *mut sbx_runner,
    envp: *const *const c_char,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.set_env(if envp.is_null() { Vec::new() } else { texts("env", envp)? })
        })
    }
}

/// The program's path inside the new root, given to execve(2) as it is: no search in PATH; a
/// relative one begins at the work directory. NULL: argv[0], which is the default. Excludes
/// sbx_set_exec_fd: both together are -EINVAL at the start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_exec_path(
    runner: *mut sbx_runner,
    path: *const c_char,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_exec_path(optional_text(path)?)) }
}

/// The program as an open file, executed by execveat(2); -1: none, which is the default. The
/// descriptor is borrowed and must be open at every start; it may have any number that the fd map
/// uses. A script cannot be started this way: its interpreter could not open it (ENOENT).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_exec_fd(
    runner: *mut sbx_runner,
    fd: c_int,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_exec_fd(fd)) }
}

/// Where the program starts: an absolute path without "..", entered after the root change and
/// verified to be inside the new root. NULL: "/" with a new root, else where the host is. See
/// chdir(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_workdir(
    runner: *mut sbx_runner,
    path: *const c_char,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_workdir(optional_text(path)?)) }
}

/// Replaces the whole fd map: `fds[i]` of the host becomes descriptor `i` of the program, -1
/// leaves `i` closed. At most 65536 entries; any permutation works. Descriptors 0, 1 and 2 that
/// are not named are /dev/null; every other one is closed in the program, also what other threads
/// open meanwhile.
///
/// The descriptors are borrowed and must be open at every start. One that is not open now: -EBADF,
/// with its index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_fds(
    runner: *mut sbx_runner,
    fds: *const c_int,
    n: usize,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_fds(slice("fds", fds, n, FDS_MAX)?)) }
}

/// Adds one entry to the fd map: `fd` of the host becomes `child_fd` (0 to 1048576) of the
/// program. -1 as `fd` keeps `child_fd` closed, also 0, 1 and 2. The same `child_fd` twice:
/// -EINVAL. `fd` not open: -EBADF.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_map_fd(
    runner: *mut sbx_runner,
    fd: c_int,
    child_fd: c_int,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.map_fd(fd, child_fd)) }
}

/// The program's controlling terminal, as a descriptor of the host; implies a session of its own
/// (sbx_set_setsid). -1: none, which is the default. See TIOCSCTTY in ioctl_tty(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_ctty(
    runner: *mut sbx_runner,
    fd: c_int,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_ctty(fd)) }
}
