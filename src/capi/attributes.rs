//! Setters: what belongs to the process.

use core::ffi::{c_int, c_void};

use super::convert::slice;
use super::error::sbx_error;
use super::runner::{sbx_runner, set};
use crate::runner::process::CPU_MASK_MAX;

/// Adds a resource limit: RLIMIT_*, soft and hard in the resource's own unit (setrlimit(2));
/// SBX_UNLIMITED is RLIM_INFINITY. Each resource once, soft not above hard: else -EINVAL.
///
/// Limits are set so late that RLIMIT_NPROC and RLIMIT_NOFILE cannot break the start itself. One
/// that the kernel refuses at the start is named by its index: the order of the calls to this
/// function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_rlimit(
    runner: *mut sbx_runner,
    resource: c_int,
    soft: u64,
    hard: u64,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.add_rlimit(resource, soft, hard)) }
}

/// The program's umask, 0 to 0777. Not called: the host's. See umask(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_umask(
    runner: *mut sbx_runner,
    mask: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_umask(mask)) }
}

/// The CPUs the program may run on: the bytes of a cpu_set_t, or of one made by CPU_ALLOC. At
/// least one CPU. Not called: those of the thread that starts it. See sched_setaffinity(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_cpu_affinity(
    runner: *mut sbx_runner,
    mask: *const c_void,
    size: usize,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.set_cpu_affinity(slice("cpu_affinity", mask.cast::<u8>(), size, CPU_MASK_MAX)?)
        })
    }
}

/// The nice value, -20 to 19. Not called: the host's. See setpriority(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_nice(
    runner: *mut sbx_runner,
    nice: c_int,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_nice(nice)) }
}

/// The scheduling policy: SCHED_OTHER, SCHED_BATCH, SCHED_IDLE with priority 0, SCHED_FIFO,
/// SCHED_RR with 1 to 99. Not called: the calling thread's, but SCHED_OTHER in place of a
/// real-time policy, which is never inherited. See sched(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_scheduler(
    runner: *mut sbx_runner,
    policy: c_int,
    priority: c_int,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_scheduler(policy, priority)) }
}

/// oom_score_adj, -1000 to 1000: how gladly the kernel ends the program when memory is short. The
/// host's own is never touched. See proc_pid_oom_score_adj(5).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_oom_score_adj(
    runner: *mut sbx_runner,
    adj: c_int,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_oom_score_adj(adj)) }
}

/// Without address space randomisation (ADDR_NO_RANDOMIZE in personality(2)). Default: off.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_no_aslr(
    runner: *mut sbx_runner,
    on: bool,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.no_aslr = on;
            Ok(())
        })
    }
}

/// The signal (1 to 64) that the program gets when the thread that is its parent ends; 0: none,
/// which is the default, except behind an init without a pid namespace, where it is SIGKILL. In the
/// direct and the staged shape that is the thread which called
/// sbx_start: in a Go program it can end at any time. See PR_SET_PDEATHSIG(2const).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_pdeathsig(
    runner: *mut sbx_runner,
    signal: c_int,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_pdeathsig(signal)) }
}

/// A session of its own, without a controlling terminal: nothing can be pushed into the host's.
/// Default: off. See setsid(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_setsid(
    runner: *mut sbx_runner,
    on: bool,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.setsid = on;
            Ok(())
        })
    }
}

/// A new session keyring, so that the host's keys are out of reach. Default: off. The kernel
/// counts keyrings per user and frees them late: an unprivileged host that starts hundreds at once
/// sees EDQUOT. See session-keyring(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_session_keyring(
    runner: *mut sbx_runner,
    on: bool,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.session_keyring = on;
            Ok(())
        })
    }
}
