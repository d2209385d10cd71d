//! How a process ended and what it used, from whoever can tell: waitid, the init's note, the pidfd.

use core::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use crate::child::plan::Ended;
use crate::plan::host::kernel_is_at_least;
use crate::sys::{self, Deadline};

/// How a program ended.
#[derive(Debug, Clone, Copy)]
pub struct Status {
    /// CLD_EXITED, CLD_KILLED or CLD_DUMPED.
    pub code: i32,
    /// Exit code, or signal.
    pub status: i32,
    /// What it used; None: somebody else of the host reaped it.
    pub usage: Option<Usage>,
}

/// What a program and the children it waited for used.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// CPU time in user mode.
    pub user_ns: u64,
    /// CPU time in the kernel.
    pub system_ns: u64,
    /// Peak resident set of the largest one, in bytes.
    pub max_rss: u64,
    /// Page faults without I/O.
    pub minor_faults: u64,
    /// Page faults with I/O.
    pub major_faults: u64,
    /// Context switches it asked for.
    pub voluntary_switches: u64,
    /// Context switches it did not.
    pub involuntary_switches: u64,
}

/// A tracee that has ended is its tracer's before it is its parent's: until we have waited for it
/// the init cannot see its end, nor can the init's namespace go away.
pub fn hand_over_tracee(pid: c_int, pidfd: BorrowedFd) {
    if sys::has_ended(pidfd) {
        let options = libc::WEXITED | libc::WNOHANG | libc::__WALL;
        // SAFETY: all zero is a valid siginfo_t, and waitid fills it.
        unsafe {
            let mut info: libc::siginfo_t = core::mem::zeroed();
            libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, options);
        }
    }
}

/// Waits for the end of a child of this process and reaps it. None: it was reaped by somebody else,
/// and the kernel does not tell how it ended.
pub fn reap(pidfd: BorrowedFd) -> Option<Status> {
    loop {
        // SAFETY: all zero is a valid siginfo_t and rusage; the kernel fills both.
        let (waited, info, usage) = unsafe {
            let mut info: libc::siginfo_t = core::mem::zeroed();
            let mut usage: libc::rusage = core::mem::zeroed();
            let waited = libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                pidfd.as_raw_fd(),
                &mut info,
                libc::WEXITED | libc::__WALL,
                &mut usage,
            );
            (waited, info, usage)
        };
        // A program that asked to be traced shows its stops too: they are no end.
        if waited == 0 && (libc::CLD_EXITED..=libc::CLD_DUMPED).contains(&info.si_code) {
            // SAFETY: waitid filled the fields of SIGCHLD.
            let status = unsafe { info.si_status() };
            return Some(Status { code: info.si_code, status, usage: Some(usage_of(&usage)) });
        }
        if waited != 0 && sys::errno() != libc::EINTR {
            break;
        }
    }
    // Reaped by a waitpid(-1) of the host, or by nobody because SIGCHLD is ignored: it may even still
    // be running in the second case, and is waited for by its pidfd.
    while !sys::has_ended(pidfd) {
        sys::poll([pidfd.as_raw_fd()], None);
    }
    exit_info(pidfd)
}

/// PIDFD_GET_INFO with PIDFD_INFO_EXIT (Linux 6.15): how a process ended that somebody else reaped.
pub fn exit_info(pidfd: BorrowedFd) -> Option<Status> {
    /// struct pidfd_info, as of Linux 6.13.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    // _IOWR(0xFF, 11, struct pidfd_info)
    const PIDFD_GET_INFO: libc::c_ulong =
        3 << 30 | (size_of::<Info>() as libc::c_ulong) << 16 | 0xff << 8 | 11;
    if !kernel_is_at_least(6, 15) {
        return None;
    }
    // The pidfd is readable a moment before the information is there: while somebody reaps the process
    // the kernel answers without it, or says ESRCH, for some microseconds.
    let patience = Deadline::after(Some(Duration::from_secs(1)));
    let info = loop {
        let mut info = Info { mask: PIDFD_INFO_EXIT, ..Info::default() };
        // SAFETY: a struct of the size that the request names.
        let told = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &mut info) };
        if told == 0 && info.mask & PIDFD_INFO_EXIT != 0 {
            break info;
        }
        if told != 0 && sys::errno() != libc::ESRCH || patience.is_over() {
            return None;
        }
        std::thread::yield_now();
    };
    let (code, status) = match info.exit_code & 0x7f {
        0 => (libc::CLD_EXITED, info.exit_code >> 8 & 0xff),
        signal if info.exit_code & 0x80 != 0 => (libc::CLD_DUMPED, signal),
        signal => (libc::CLD_KILLED, signal),
    };
    Some(Status { code, status, usage: None })
}

/// What the init's note says.
pub fn status_of(note: &Ended) -> Status {
    // SAFETY: the init copied a struct rusage as the kernel wrote it; it is longs all through.
    let usage = unsafe { note.usage.as_ptr().cast::<libc::rusage>().read() };
    Status { code: note.first, status: note.second, usage: Some(usage_of(&usage)) }
}

fn usage_of(usage: &libc::rusage) -> Usage {
    let time = |time: libc::timeval| {
        (time.tv_sec as u64)
            .saturating_mul(1_000_000_000)
            .saturating_add(time.tv_usec as u64 * 1000)
    };
    Usage {
        user_ns: time(usage.ru_utime),
        system_ns: time(usage.ru_stime),
        max_rss: (usage.ru_maxrss as u64).saturating_mul(1024),
        minor_faults: usage.ru_minflt as u64,
        major_faults: usage.ru_majflt as u64,
        voluntary_switches: usage.ru_nvcsw as u64,
        involuntary_switches: usage.ru_nivcsw as u64,
    }
}
