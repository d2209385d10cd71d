//! `sbx_process`: one started program.

use core::ffi::c_int;
use core::mem::offset_of;
use core::time::Duration;

use super::error::{report, sbx_error};
use super::handle::{self, Handle};
use super::sized::{self, Growing};
use crate::flags::SBX_INFINITE;
use crate::process::{Process, Status};

/// One started program, and whatever it started itself.
///
/// Threads: every function may be called from any thread, from many at once; sbx_process_free is
/// the last.
pub struct sbx_process {
    _opaque: [u8; 0],
}

impl Handle for sbx_process {
    type Inside = Process;
    const MAGIC: u64 = 0x7362_785f_7072_6f63; // "sbx_proc"
    const NAME: &'static str = "process";
}

/// How a program ended, and what it used. Begin with `struct sbx_status status =
/// SBX_STATUS_INIT;`. The struct may grow: only as much is written as `size` has room for.
#[repr(C)]
pub struct sbx_status {
    /// sizeof(struct sbx_status), set by the caller, never changed.
    pub size: usize,
    /// CLD_EXITED, CLD_KILLED or CLD_DUMPED, as in waitid(2).
    pub code: i32,
    /// The exit code, or the signal.
    pub status: i32,
    /// CPU time in user mode, in nanoseconds, of the program and the children that it waited for.
    pub user_ns: u64,
    /// CPU time in the kernel, likewise.
    pub system_ns: u64,
    /// The largest resident set, in bytes. In the direct and the staged shape the kernel counts
    /// what the host had in memory at the start: only in the init shape is it the program's own.
    pub max_rss: u64,
    /// Page faults served without a disk.
    pub minor_faults: u64,
    /// Page faults served from a disk.
    pub major_faults: u64,
    /// Context switches because the program waited.
    pub voluntary_switches: u64,
    /// Context switches because its time was up.
    pub involuntary_switches: u64,
    /// 1: the figures above hold. 0: somebody else reaped the program, and they are all 0.
    pub has_usage: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: repr(C), size first, integers.
unsafe impl Growing for sbx_status {
    const NAME: &'static str = "status";
    const ENDS: &'static [usize] = &[
        offset_of!(sbx_status, code),
        offset_of!(sbx_status, status),
        offset_of!(sbx_status, user_ns),
        offset_of!(sbx_status, system_ns),
        offset_of!(sbx_status, max_rss),
        offset_of!(sbx_status, minor_faults),
        offset_of!(sbx_status, major_faults),
        offset_of!(sbx_status, voluntary_switches),
        offset_of!(sbx_status, involuntary_switches),
        offset_of!(sbx_status, has_usage),
        offset_of!(sbx_status, reserved),
        size_of::<sbx_status>(),
    ];

    fn absent() -> sbx_status {
        sbx_status {
            size: 0,
            code: 0,
            status: 0,
            user_ns: 0,
            system_ns: 0,
            max_rss: 0,
            minor_faults: 0,
            major_faults: 0,
            voluntary_switches: 0,
            involuntary_switches: 0,
            has_usage: 0,
            reserved: 0,
        }
    }
}

impl From<Status> for sbx_status {
    fn from(from: Status) -> sbx_status {
        let mut status =
            sbx_status { code: from.code, status: from.status, ..sbx_status::absent() };
        if let Some(usage) = from.usage {
            status.user_ns = usage.user_ns;
            status.system_ns = usage.system_ns;
            status.max_rss = usage.max_rss;
            status.minor_faults = usage.minor_faults;
            status.major_faults = usage.major_faults;
            status.voluntary_switches = usage.voluntary_switches;
            status.involuntary_switches = usage.involuntary_switches;
            status.has_usage = 1;
        }
        status
    }
}

/// One answer about a process, or `none` for a handle that is none.
unsafe fn ask<T>(process: *const sbx_process, none: T, answer: impl FnOnce(&Process) -> T) -> T {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { handle::get(process) }.map_or(none, answer)
}

/// The program's pid in the host's pid namespace: never the init's. For printing; to do something
/// to the program, use its pidfd. -EINVAL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_process_pid(process: *const sbx_process) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { ask(process, -libc::EINVAL, Process::pid) }
}

/// A pidfd of the program: readable when it has ended (poll(2)). It belongs to the process object,
/// and is closed by sbx_process_free. -EINVAL for NULL. See pidfd_open(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_process_pidfd(process: *const sbx_process) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { ask(process, -libc::EINVAL, Process::pidfd) }
}

/// A descriptor that becomes readable when nothing of the sandbox is left: in the init shape, when
/// the init has ended, and the descendants with it as far as sbx_set_init promises; in the direct
/// and the staged shape, when the program has ended. It belongs to the process object. -EINVAL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_process_tree_fd(process: *const sbx_process) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { ask(process, -libc::EINVAL, Process::tree_fd) }
}

/// SBX_SHAPE_*: the process tree that the library chose. UINT32_MAX for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_process_shape(process: *const sbx_process) -> u32 {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { ask(process, u32::MAX, |process| process.shape() as u32) }
}

/// Whether everything in the sandbox is sure to end when the host does, however it ends: true only
/// in the init shape with a pid namespace of its own. false for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_process_dies_with_host(process: *const sbx_process) -> bool {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { ask(process, false, Process::dies_with_host) }
}

/// SBX_UNENFORCED_*: what was asked for, in a way that allowed it to be missing, and is missing.
/// 0: every setting holds. UINT64_MAX for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_process_unenforced(process: *const sbx_process) -> u64 {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { ask(process, u64::MAX, Process::unenforced) }
}

/// Waits until the program has ended, and fills `status` (NULL: nobody wants to know).
/// `timeout_ns` in nanoseconds; 0: only looks; SBX_INFINITE: for ever. May be repeated, and called
/// from several threads: all get the same.
///
/// -ETIMEDOUT: it runs. The errno and location of an exec that failed after sbx_start had returned
/// (a stop was asked for). -ECHILD: somebody else in the host reaped it, and this kernel cannot
/// tell how it ended. -EINTR does not happen. See waitid(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_process_wait(
    process: *mut sbx_process,
    timeout_ns: u64,
    status: *mut sbx_status,
    error: *mut sbx_error,
) -> c_int {
    let wait = || {
        // SAFETY: the caller's pointers, by the contract in mod.rs.
        let process = unsafe { handle::get(process) }?;
        let wanted = !status.is_null();
        if wanted {
            unsafe { sized::check_out(status) }?;
        }
        let timeout = (timeout_ns != SBX_INFINITE).then(|| Duration::from_nanos(timeout_ns));
        let ended = sbx_status::from(process.wait(timeout)?);
        if wanted {
            // SAFETY: the caller's pointers, by the contract in mod.rs.
            unsafe { sized::write(status, (*status).size, &ended) };
        }
        Ok(0)
    };
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { report(wait(), error) }
}

/// Sends a signal to the program, by its pidfd: never to another process that got its number.
/// -ESRCH after its end; -EPERM where the host may not signal the program's user. See
/// pidfd_send_signal(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_process_kill(
    process: *mut sbx_process,
    signal: c_int,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        report(handle::get(process).and_then(|process| process.kill(signal)).map(|()| 0), error)
    }
}

/// Sends SIGKILL to everything in the sandbox; 0 also when nothing is left. Does not wait: the
/// tree_fd tells when it is over. In the direct and the staged shape "everything" is the program
/// alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_process_kill_tree(
    process: *mut sbx_process,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        report(handle::get(process).and_then(|process| process.kill_tree()).map(|()| 0), error)
    }
}

/// Ends the tree as sbx_process_kill_tree does, waits until it is gone, and frees the process.
/// NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_process_free(process: *mut sbx_process) {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { handle::free(process) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Shape;
    use crate::process::Usage;

    #[test]
    fn status() {
        let usage = Usage {
            user_ns: 1,
            system_ns: 2,
            max_rss: 3,
            minor_faults: 4,
            major_faults: 5,
            voluntary_switches: 6,
            involuntary_switches: 7,
        };
        let with = sbx_status::from(Status { code: 1, status: 9, usage: Some(usage) });
        assert_eq!((with.code, with.status, with.has_usage), (1, 9, 1));
        assert_eq!((with.user_ns, with.system_ns, with.max_rss), (1, 2, 3));
        assert_eq!((with.minor_faults, with.major_faults), (4, 5));
        assert_eq!((with.voluntary_switches, with.involuntary_switches), (6, 7));
        let without = sbx_status::from(Status { code: 2, status: 6, usage: None });
        assert_eq!(
            (without.code, without.status, without.has_usage, without.max_rss),
            (2, 6, 0, 0)
        );
    }

    #[test]
    fn shapes() {
        use crate::flags::{SBX_SHAPE_DIRECT, SBX_SHAPE_INIT, SBX_SHAPE_STAGED};
        let shapes = [Shape::Direct, Shape::Staged, Shape::Init].map(|shape| shape as u32);
        assert_eq!(shapes, [SBX_SHAPE_DIRECT, SBX_SHAPE_STAGED, SBX_SHAPE_INIT]);
    }

    #[test]
    fn no_handle_no_claim() {
        let null = core::ptr::null();
        // SAFETY: NULL is allowed.
        unsafe {
            assert_eq!(sbx_process_pid(null), -libc::EINVAL);
            assert_eq!(sbx_process_pidfd(null), -libc::EINVAL);
            assert_eq!(sbx_process_tree_fd(null), -libc::EINVAL);
            assert_eq!(sbx_process_shape(null), u32::MAX);
            assert!(!sbx_process_dies_with_host(null));
            assert_eq!(sbx_process_unenforced(null), u64::MAX);
            sbx_process_free(null.cast_mut());
        }
    }
}
