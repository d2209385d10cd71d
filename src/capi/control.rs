//! Setters: how the start goes.

use core::ffi::{c_int, c_void};

use super::error::sbx_error;
use super::runner::{sbx_runner, set};

/// Called on the thread that is inside sbx_start, right before the program's exec: the sandbox
/// stands, except for the rlimits, the last of the capabilities and the filters. `pid` and `pidfd`
/// are the program's, `arg` is the launch's sync_arg; the pidfd belongs to the library.
///
/// 0: go on. A negative errno, or anything else: the child is killed and reaped, and sbx_start
/// returns it (a positive value as its negative, one beyond any errno as -ECANCELED) at the location
/// "sync_func". The function must
/// return, which may take its time: nobody else waits for it. It may call any function of this
/// library, except one that changes the runner which is being started.
pub type sbx_sync_func =
    Option<unsafe extern "C" fn(pid: c_int, pidfd: c_int, arg: *mut c_void) -> c_int>;

/// The function to call before exec; NULL: none, which is the default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_sync_func(
    runner: *mut sbx_runner,
    r#fn: sbx_sync_func,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.sync_func = r#fn;
            Ok(())
        })
    }
}

/// The thread inside sbx_start seizes the child (PTRACE_SEIZE, no options), and sbx_start returns
/// with the program in a stop before its filter and its exec. From there on the tracing is that
/// thread's business: PTRACE_CONT lets the program go on. An exec that fails later is seen by
/// sbx_process_wait with its location. Default: off. See ptrace(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_ptrace(
    runner: *mut sbx_runner,
    on: bool,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.ptrace = on;
            Ok(())
        })
    }
}

/// The child stops itself (SIGSTOP) before its filter and its exec, and sbx_start returns;
/// SIGCONT, by sbx_process_kill, lets it go on. An exec that fails later is seen by
/// sbx_process_wait with its location. Default: off.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_stop_before_seccomp(
    runner: *mut sbx_runner,
    on: bool,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.stop_before_seccomp = on;
            Ok(())
        })
    }
}

/// An init in front of the program: it reaps orphans, reports the true exit status and usage, and
/// ends what the program leaves behind. With a new pid namespace the kernel does the latter: nothing
/// outlives the program. Without one the init does (a subreaper, prctl(2)): it needs the host's own
/// /proc for it (SBX_UNENFORCED_DESCENDANTS otherwise), a program of the same uid can kill it, and
/// one that forks faster than it is killed outlives it after five seconds. In a joined pid namespace
/// orphans belong to that namespace's own init, and stay. A program that keeps CAP_SYS_PTRACE in a
/// new user namespace can trace the init. Not called: on with a new or joined pid namespace, off
/// otherwise. Off with a new pid namespace makes the program pid 1, which changes what signals do
/// to it; see pid_namespaces(7). With an init or a new pid namespace the program also gets a
/// process group of its own (setpgid(2)), unless it gets a session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_init(
    runner: *mut sbx_runner,
    on: bool,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.init = Some(on);
            Ok(())
        })
    }
}

/// Asks for the staged shape where the direct one would do: the child leaves the host's memory
/// before it does anything else. Where a setting needs it the library chooses it by itself.
/// Default: off.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_staged(
    runner: *mut sbx_runner,
    on: bool,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.staged = on;
            Ok(())
        })
    }
}
