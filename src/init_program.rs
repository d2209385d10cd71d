//! The embedded program as a file that can be exec'd: a sealed memfd, made once per process.
//!
//! Sealed, so that nobody inside a sandbox can change it through /proc/PID/exe for those who come
//! later. Hosts close descriptors they do not know: before each use it is looked at anew.

use core::ffi::{CStr, c_int};
use core::sync::atomic::{AtomicI32, Ordering::AcqRel, Ordering::Acquire};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::error::{Error, Location, Result};
use crate::sys::errno;

/// Built by build.rs from src/init.
static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sbx-init"));

/// Where the same file is installed, for kernels that forbid executable memfds.
static INSTALLED: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("SBX_LIBEXECDIR"), "/sbx-init\0").as_bytes()) {
        Ok(path) => path,
        Err(_) => c"",
    };

const SEALS: c_int =
    libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

/// The memfd, or -1.
static CACHED: AtomicI32 = AtomicI32::new(-1);

/// Run by dlclose and exit: a host that loads and unloads the library keeps no descriptor of it.
#[used]
#[unsafe(link_section = ".fini_array")]
static CLOSE_AT_UNLOAD: extern "C" fn() = close_cached;

extern "C" fn close_cached() {
    let cached = CACHED.swap(-1, AcqRel);
    if cached >= 0 && is_ours(cached) {
        // SAFETY: our own descriptor; nobody can be in a start while the library is unloaded.
        unsafe { libc::close(cached) };
    }
}

/// The program, open.
pub enum InitProgram {
    /// The process's memfd; stays open.
    Cached(c_int),
    /// The installed file; closed after the start.
    Installed(OwnedFd),
}

impl InitProgram {
    /// Opens it.
    pub fn open() -> Result<InitProgram> {
        let cached = CACHED.load(Acquire);
        if cached >= 0 && is_ours(cached) {
            return Ok(InitProgram::Cached(cached));
        }
        let made = match make() {
            Ok(made) => made,
            Err(libc::EACCES) => return installed(),
            Err(errno) => return Err(Error::at(Location::InitProgram, errno)),
        };
        // Another thread may have been faster: then its memfd is used, and this one closed.
        match CACHED.compare_exchange(cached, made.as_raw_fd(), AcqRel, Acquire) {
            Ok(_) => Ok(InitProgram::Cached(std::os::fd::IntoRawFd::into_raw_fd(made))),
            Err(other) if is_ours(other) => Ok(InitProgram::Cached(other)),
            Err(_) => Ok(InitProgram::Installed(made)),
        }
    }

    /// Its descriptor.
    pub fn fd(&self) -> c_int {
        match self {
            InitProgram::Cached(fd) => *fd,
            InitProgram::Installed(fd) => fd.as_raw_fd(),
        }
    }
}

/// True if the descriptor is still a memfd with all these seals and the program's size: what a host that
/// closed it has opened since under the same number is not that by accident.
fn is_ours(fd: c_int) -> bool {
    // SAFETY: asks about a number; all zero is a valid stat.
    unsafe {
        let mut stat: libc::stat = core::mem::zeroed();
        libc::fcntl(fd, libc::F_GET_SEALS) & SEALS == SEALS
            && libc::fstat(fd, &mut stat) == 0
            && stat.st_size == PROGRAM.len() as i64
    }
}

fn make() -> core::result::Result<OwnedFd, c_int> {
    const MFD_EXEC: libc::c_uint = 0x10;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a NUL-terminated name. Before 6.3 every memfd was executable and MFD_EXEC unknown.
    let fd = unsafe {
        match libc::memfd_create(c"sbx-init".as_ptr(), flags | MFD_EXEC) {
            -1 if errno() == libc::EINVAL => libc::memfd_create(c"sbx-init".as_ptr(), flags),
            fd => fd,
        }
    };
    if fd < 0 {
        return Err(errno());
    }
    // SAFETY: just opened.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: writes bytes of ours to a file of ours.
    if unsafe { libc::pwrite(fd, PROGRAM.as_ptr().cast(), PROGRAM.len(), 0) }
        != PROGRAM.len() as isize
    {
        return Err(libc::ENOMEM);
    }
    // SAFETY: seals it.
    if unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, SEALS) } != 0 {
        return Err(errno());
    }
    Ok(file)
}

/// The installed file, if it is root's and holds these very bytes.
fn installed() -> Result<InitProgram> {
    let refused = |errno: c_int| {
        Error::with_message(
            Location::InitProgram,
            errno,
            format_args!(
                "vm.memfd_noexec forbids an executable memfd, and {INSTALLED:?} cannot stand in"
            ),
        )
    };
    // SAFETY: a NUL-terminated path.
    let fd = unsafe {
        libc::open(INSTALLED.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW)
    };
    if fd < 0 {
        return Err(refused(errno()));
    }
    // SAFETY: just opened; all zero is a valid stat.
    let (file, stat) = unsafe {
        let mut stat: libc::stat = core::mem::zeroed();
        libc::fstat(fd, &mut stat);
        (OwnedFd::from_raw_fd(fd), stat)
    };
    if stat.st_uid != 0 || stat.st_mode & 0o022 != 0 || stat.st_size != PROGRAM.len() as i64 {
        return Err(refused(libc::EPERM));
    }
    let mut chunk = [0u8; 1024];
    let mut at = 0;
    while at < PROGRAM.len() {
        // SAFETY: a buffer with its size.
        let read = unsafe { libc::pread(fd, chunk.as_mut_ptr().cast(), chunk.len(), at as i64) };
        let same = usize::try_from(read)
            .ok()
            .filter(|read| *read > 0)
            .and_then(|read| Some(chunk.get(..read)? == PROGRAM.get(at..at + read)?));
        if same != Some(true) {
            return Err(refused(libc::EPERM));
        }
        at += read as usize;
    }
    Ok(InitProgram::Installed(file))
}
