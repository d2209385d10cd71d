//! What host and embedded program share: a memfd with the control block and the plan, and for the
//! init a socket.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use core::ffi::c_int;

use crate::child::plan::{CONTROL_SIZE, Control, Note, answer};
use crate::error::{Error, Location, Result};
use crate::sys;

/// A memfd: the control block in its first page, the plan behind it. The page is mapped here too.
pub struct Memfd {
    file: OwnedFd,
    control: *mut Control,
}

// SAFETY: the control block is made of atomics, and the mapping is the handle's own.
unsafe impl Send for Memfd {}
// SAFETY: as above.
unsafe impl Sync for Memfd {}

impl Memfd {
    /// An empty one.
    pub fn new() -> Result<Memfd> {
        let failed = |errno| Error::at(Location::Arena, errno);
        const MFD_NOEXEC_SEAL: libc::c_uint = 8;
        // SAFETY: a NUL-terminated name. MFD_NOEXEC_SEAL is unknown before 6.3.
        let file = unsafe {
            sys::new_fd(libc::memfd_create(
                c"sbx-plan".as_ptr(),
                libc::MFD_CLOEXEC | MFD_NOEXEC_SEAL,
            ))
            .or_else(|_| sys::new_fd(libc::memfd_create(c"sbx-plan".as_ptr(), libc::MFD_CLOEXEC)))
        }
        .map_err(failed)?;
        // SAFETY: a descriptor of ours.
        sys::check(unsafe { libc::ftruncate(file.as_raw_fd(), CONTROL_SIZE as i64) })
            .map_err(failed)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of a file of ours that is as long.
        let control = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                CONTROL_SIZE,
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if control == libc::MAP_FAILED {
            return Err(failed(sys::errno()));
        }
        Ok(Memfd { file, control: control.cast() })
    }

    /// Its descriptor.
    pub fn fd(&self) -> c_int {
        self.file.as_raw_fd()
    }

    /// The control block.
    pub fn control(&self) -> *mut Control {
        self.control
    }

    /// Writes the plan.
    pub fn write(&self, plan: &[u8]) -> Result<()> {
        let mut at = 0;
        while let Some(rest) = plan.get(at..).filter(|rest| !rest.is_empty()) {
            // SAFETY: bytes of ours, a file of ours.
            let written = unsafe {
                libc::pwrite(
                    self.fd(),
                    rest.as_ptr().cast(),
                    rest.len(),
                    (CONTROL_SIZE + at) as i64,
                )
            };
            match written {
                1.. => at += written as usize,
                _ if sys::errno() == libc::EINTR => {}
                _ => return Err(Error::at(Location::Arena, sys::errno())),
            }
        }
        Ok(())
    }
}

impl Drop for Memfd {
    fn drop(&mut self) {
        // SAFETY: our own mapping.
        unsafe { libc::munmap(self.control.cast(), CONTROL_SIZE) };
    }
}

/// The channel between host and init: ours, theirs. Messages stay whole; the kernel says who sent one.
pub fn channel() -> Result<(OwnedFd, OwnedFd)> {
    let failed = |errno| Error::at(Location::Channel, errno);
    let mut pair = [-1; 2];
    // SAFETY: writes two numbers.
    sys::check(unsafe {
        libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
            0,
            pair.as_mut_ptr(),
        )
    })
    .map_err(failed)?;
    // SAFETY: just opened.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1])) };
    let on: c_int = 1;
    // SAFETY: reads one number.
    let passcred = unsafe {
        libc::setsockopt(
            ours.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PASSCRED,
            (&raw const on).cast(),
            4,
        )
    };
    sys::check(passcred).map_err(failed)?;
    Ok((ours, theirs))
}

/// Sends the plan to whoever holds the other end. It waits there until the init reads it.
pub fn send_plan(channel: &OwnedFd, memfd: &Memfd, size: usize, floor: c_int) -> Result<()> {
    let note = Note { kind: answer::PLAN, first: size as i32, second: floor, reserved: 0 };
    // SAFETY: the note lives in this frame.
    let sent = unsafe {
        crate::child::channel::send(
            channel.as_raw_fd(),
            (&raw const note).cast(),
            size_of::<Note>(),
            memfd.fd(),
        )
    };
    if sent < 0 { Err(Error::at(Location::Channel, -sent as c_int)) } else { Ok(()) }
}
