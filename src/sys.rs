//! The host's own system calls, as far as libc has no good name for them.

use core::ffi::c_int;
use core::sync::atomic::AtomicU32;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// The calling thread's errno.
pub fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// What a call that returns -1 on failure gave.
pub fn check(result: impl Into<i64>) -> Result<i64, c_int> {
    match result.into() {
        -1 => Err(errno()),
        result => Ok(result),
    }
}

/// What a call gave that returns a new descriptor.
pub fn new_fd(result: impl Into<i64>) -> Result<OwnedFd, c_int> {
    let fd = check(result)? as c_int;
    // SAFETY: the call just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// True for an open descriptor's number.
pub fn is_open(fd: c_int) -> bool {
    // SAFETY: asks about a number.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}

/// A point in time to give up at; None: never.
#[derive(Clone, Copy)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// After this time.
    pub fn after(timeout: Option<Duration>) -> Deadline {
        Deadline(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// What is left: None: no end; zero: over.
    pub fn left(&self) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// The same deadline, later by this much.
    pub fn later(self, by: Duration) -> Deadline {
        Deadline(self.0.and_then(|end| end.checked_add(by)))
    }

    /// True once it is over.
    pub fn is_over(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: time.as_secs().min(i64::MAX as u64) as i64,
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}

/// futex(2) FUTEX_WAIT, not the private kind: the kernel's own wake at exec and death is not either.
/// Returns for any reason; the caller looks at the word again.
pub fn futex_wait(word: &AtomicU32, value: u32, timeout: Option<Duration>) {
    let time = timeout.map(timespec);
    let time = time.as_ref().map_or(core::ptr::null(), |time| time as *const libc::timespec);
    // SAFETY: reads the word and the time.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, time) };
}

/// futex(2) FUTEX_WAKE.
pub fn futex_wake(word: &AtomicU32) {
    // SAFETY: touches nothing.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

/// ppoll(2) for reading: which of the descriptors have something, or an end. Empty: the time is over,
/// or a signal came.
pub fn poll<const N: usize>(fds: [c_int; N], timeout: Option<Duration>) -> [bool; N] {
    let mut polled = fds.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let time = timeout.map(timespec);
    let time = time.as_ref().map_or(core::ptr::null(), |time| time as *const libc::timespec);
    // SAFETY: N entries, and a time.
    let ready =
        unsafe { libc::ppoll(polled.as_mut_ptr(), N as libc::nfds_t, time, core::ptr::null()) };
    polled.map(|entry| ready > 0 && entry.revents != 0)
}

/// True if the process has ended.
pub fn has_ended(pidfd: BorrowedFd) -> bool {
    poll([pidfd.as_raw_fd()], Some(Duration::ZERO))[0]
}

/// pidfd_send_signal(2).
pub fn send_signal(pidfd: BorrowedFd, signal: c_int) -> Result<(), c_int> {
    // SAFETY: touches nothing of ours.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, 0, 0) })
        .map(drop)
}

/// Blocks every signal for the calling thread, also those that libc keeps for itself.
pub struct SignalsBlocked(u64);

impl SignalsBlocked {
    /// Blocks.
    pub fn begin() -> SignalsBlocked {
        let (all, mut old) = (u64::MAX, 0u64);
        // SAFETY: reads and writes one kernel sigset each.
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &all, &mut old, 8) };
        SignalsBlocked(old)
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: reads one kernel sigset.
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &self.0, 0, 8) };
    }
}

/// Keeps pthread_cancel from ending the calling thread inside the library: it would unwind through
/// frames that are not made for it, and leave a child without a parent that knows of it.
pub struct NotCancelled(c_int);

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}
const PTHREAD_CANCEL_DISABLE: c_int = 1;

impl NotCancelled {
    /// Off.
    pub fn begin() -> NotCancelled {
        let mut old = 0;
        // SAFETY: writes one number.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut old) };
        NotCancelled(old)
    }
}

impl Drop for NotCancelled {
    fn drop(&mut self) {
        let mut old = 0;
        // SAFETY: as above.
        unsafe { pthread_setcancelstate(self.0, &mut old) };
    }
}
