//! What a plan needs to know of the host: who it is, what it may, what this kernel has.
//!
//! Asked anew for each start, by system calls that cost less than a tenth of a microsecond each: a
//! host may change its ids, its rights and its scheduling at any time. Only what cannot change while
//! the kernel runs is remembered.

use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

/// Facts about the calling thread and the kernel.
pub struct Host {
    /// Process id, in its own pid namespace.
    pub pid: c_int,
    /// Effective uid.
    pub euid: u32,
    /// Effective gid.
    pub egid: u32,
    /// Effective capabilities.
    pub effective: u64,
    /// Permitted capabilities.
    pub permitted: u64,
    /// Inheritable capabilities.
    pub inheritable: u64,
    /// The calling thread runs under a real-time policy.
    pub realtime: bool,
}

/// CAP_SETGID.
pub const CAP_SETGID: u64 = 1 << 6;
/// CAP_SETUID.
pub const CAP_SETUID: u64 = 1 << 7;
/// CAP_SETPCAP.
pub const CAP_SETPCAP: u64 = 1 << 8;
/// CAP_SYS_ADMIN.
pub const CAP_SYS_ADMIN: u64 = 1 << 21;

/// _LINUX_CAPABILITY_VERSION_3.
pub const CAPABILITY_VERSION: u32 = 0x2008_0522;

impl Host {
    /// Looks.
    pub fn look() -> Host {
        let header = [CAPABILITY_VERSION, 0];
        let mut sets = [0u32; 6];
        // SAFETY: capget writes two sets of three words for this version; the others write nothing.
        unsafe {
            libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr());
            let join = |n: usize| u64::from(sets[n]) | u64::from(sets[n + 3]) << 32;
            Host {
                pid: libc::syscall(libc::SYS_getpid) as c_int,
                euid: libc::geteuid(),
                egid: libc::getegid(),
                effective: join(0),
                permitted: join(1),
                inheritable: join(2),
                realtime: matches!(
                    libc::syscall(libc::SYS_sched_getscheduler, 0) as c_int
                        & !libc::SCHED_RESET_ON_FORK,
                    libc::SCHED_FIFO | libc::SCHED_RR | libc::SCHED_DEADLINE
                ),
            }
        }
    }

    /// True if the calling thread has the capability.
    pub fn may(&self, capability: u64) -> bool {
        self.effective & capability != 0
    }
}

/// Every capability this kernel knows.
pub fn all_capabilities() -> u64 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let mut last = LAST.load(Relaxed);
    if last == 0 {
        // CAP_CHECKPOINT_RESTORE (40) is the last one up to Linux 6.18.
        last = 40;
        // SAFETY: reads a bit of the bounding set, or says EINVAL for a capability it does not know.
        let known = |n: u32| unsafe { libc::prctl(libc::PR_CAPBSET_READ, n as libc::c_ulong, 0, 0, 0) } >= 0;
        while last > 0 && !known(last) {
            last -= 1;
        }
        while last < 62 && known(last + 1) {
            last += 1;
        }
        LAST.store(last, Relaxed);
    }
    (1 << (last + 1)) - 1
}

/// The Landlock ABI, 0 where there is none.
pub fn landlock_abi() -> c_int {
    static ABI: AtomicI32 = AtomicI32::new(-1);
    const CREATE_RULESET_VERSION: u32 = 1;
    let mut abi = ABI.load(Relaxed);
    if abi < 0 {
        // SAFETY: with this flag it only tells the version.
        abi = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                core::ptr::null::<u8>(),
                0usize,
                CREATE_RULESET_VERSION,
            )
        }
        .max(0) as c_int;
        ABI.store(abi, Relaxed);
    }
    abi
}

/// True from this kernel release on.
pub fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    static RELEASE: AtomicU32 = AtomicU32::new(0);
    let mut release = RELEASE.load(Relaxed);
    if release == 0 {
        // SAFETY: all zero is a valid utsname, and uname fills it with strings.
        let name = unsafe {
            let mut name: libc::utsname = core::mem::zeroed();
            libc::uname(&mut name);
            name
        };
        let mut numbers = name.release.split(|c| !(*c as u8).is_ascii_digit()).map(|digits| {
            digits
                .iter()
                .fold(0u32, |n, c| n.saturating_mul(10).saturating_add(u32::from(*c as u8 - b'0')))
        });
        let major = numbers.next().unwrap_or(0).min(0x7fff);
        release = major << 16 | numbers.next().unwrap_or(0).min(0xffff);
        RELEASE.store(release, Relaxed);
    }
    release >= (major << 16 | minor)
}
