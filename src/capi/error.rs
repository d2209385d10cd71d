//! `struct sbx_error`: where, with what and through whose fault something failed.

use core::ffi::{c_char, c_int};
use core::fmt::{self, Write};
use core::mem::offset_of;

use super::convert::Buffer;
use super::{errno, sized};
use crate::error::{Error, Result};

/// Why a call failed. The caller owns it, and gives it to any number of calls, one after another.
///
/// Begin with `struct sbx_error error = SBX_ERROR_INIT;`. Every function that takes one accepts
/// NULL. A call that succeeds clears it (all fields 0, the message empty); a call that fails fills
/// it. Only as much is written as `size` has room for; a `size` of 0 counts as the struct of
/// version 0.1.
#[repr(C)]
pub struct sbx_error {
    /// sizeof(struct sbx_error), set by the caller, never changed.
    pub size: usize,
    /// The positive errno, the same that the call returned negative; 0 after success.
    pub err: i32,
    /// The step that failed: see sbx_location_name. A number never changes its meaning.
    pub location: u32,
    /// Which entry of a list (which rlimit, mount, filter, ...), from 0; the signal or capability
    /// where a step is about one; the step of the plan at setup_timeout; -1 otherwise.
    pub index: i32,
    /// SBX_BLAME_*: whose move it is.
    pub blame: u32,
    /// One line for people: the step, the errno in words, and what else is known. Always
    /// terminated.
    pub message: [c_char; 256],
}

/// The line for people.
fn describe(error: &Error, out: &mut dyn Write) -> fmt::Result {
    out.write_str(error.location.name().to_str().unwrap_or("unknown"))?;
    if error.index >= 0 {
        write!(out, "[{}]", error.index)?;
    }
    match errno::text(error.errno) {
        Some(text) => write!(out, ": {text}")?,
        None => write!(out, ": errno {}", error.errno)?,
    }
    if !error.message.as_str().is_empty() {
        write!(out, ": {}", error.message.as_str())?;
    }
    Ok(())
}

/// Ends a call: what it returns, with the error told to whoever wants to know.
pub unsafe fn report(result: Result<c_int>, out: *mut sbx_error) -> c_int {
    if !out.is_null() {
        // SAFETY: not NULL, so a struct of the caller's.
        unsafe { fill(out, result.as_ref().err()) };
    }
    match result {
        Ok(value) => value,
        Err(error) => -error.errno,
    }
}

unsafe fn fill(out: *mut sbx_error, error: Option<&Error>) {
    let full = size_of::<sbx_error>();
    // SAFETY: the struct begins with its size.
    let size = match unsafe { out.cast::<usize>().read_unaligned() } {
        0 => full,
        size => size.min(full),
    };
    let mut value = sbx_error { size, err: 0, location: 0, index: 0, blame: 0, message: [0; 256] };
    if let Some(error) = error {
        value.err = error.errno;
        value.location = error.location as u32;
        value.index = error.index;
        value.blame = error.blame() as u32;
        // As much of the message as the caller's struct has room for, with its NUL.
        let room = size.saturating_sub(offset_of!(sbx_error, message));
        // SAFETY: the message has at least `room` bytes. Writing into a buffer does not fail.
        let _ = unsafe { Buffer::new("message", value.message.as_mut_ptr(), room) }
            .map(|mut buffer| describe(error, &mut buffer));
    }
    // SAFETY: the caller's struct has `size` bytes.
    unsafe { sized::write(out, size, &value) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Location;
    use core::ffi::CStr;

    fn empty(size: usize) -> sbx_error {
        sbx_error { size, err: 9, location: 9, index: 9, blame: 9, message: [b'#' as c_char; 256] }
    }

    fn message(error: &sbx_error) -> &str {
        // SAFETY: `fill` terminates it.
        unsafe { CStr::from_ptr(error.message.as_ptr()) }.to_str().unwrap()
    }

    #[test]
    fn success_clears() {
        let mut out = empty(size_of::<sbx_error>());
        // SAFETY: a whole struct.
        assert_eq!(unsafe { report(Ok(3), &mut out) }, 3);
        assert_eq!((out.err, out.location, out.index, out.blame, message(&out)), (0, 0, 0, 0, ""));
    }

    #[test]
    fn failure_fills() {
        let mut out = empty(0);
        let error = Error::at(Location::Rlimit, libc::EPERM).index(2);
        // SAFETY: a whole struct.
        assert_eq!(unsafe { report(Err(error), &mut out) }, -libc::EPERM);
        assert_eq!((out.size, out.err, out.location, out.index, out.blame), (0, 1, 86, 2, 2));
        assert_eq!(message(&out), "rlimit[2]: Operation not permitted");

        let error = Error::invalid(format_args!("uid_map: the count is 0"));
        // SAFETY: a whole struct.
        unsafe { report(Err(error), &mut out) };
        assert_eq!(message(&out), "argument: Invalid argument: uid_map: the count is 0");
        assert_eq!((out.index, out.blame), (-1, 1));

        // SAFETY: a whole struct.
        unsafe { report(Err(Error::at(Location::Exec, 4000)), &mut out) };
        assert_eq!(message(&out), "exec: errno 4000");
    }

    #[test]
    fn blame_has_the_numbers_of_the_header() {
        use crate::error::Blame;
        use crate::flags::{
            SBX_BLAME_CALLER, SBX_BLAME_HOST, SBX_BLAME_PROGRAM, SBX_BLAME_TRANSIENT,
        };
        let blames = [Blame::Caller, Blame::Host, Blame::Program, Blame::Transient];
        let numbers = [SBX_BLAME_CALLER, SBX_BLAME_HOST, SBX_BLAME_PROGRAM, SBX_BLAME_TRANSIENT];
        assert_eq!(blames.map(|blame| blame as u32), numbers);
    }

    #[test]
    fn null_is_fine() {
        let error = Error::at(Location::Exec, libc::ENOENT);
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { report(Err(error), core::ptr::null_mut()) }, -libc::ENOENT);
    }

    #[test]
    fn short_structs_get_what_fits() {
        let error = Error::at(Location::Exec, libc::ENOENT);
        for size in 1..=280 {
            let mut out = empty(size);
            // SAFETY: a whole struct, longer than it says.
            unsafe { report(Err(error), &mut out) };
            assert_eq!(out.size, size);
            assert_eq!(
                out.err,
                if size >= 12 {
                    2
                } else if size <= 8 {
                    9
                } else {
                    out.err
                }
            );
            if size > 24 {
                assert!("exec: No such file or directory".starts_with(message(&out)));
                assert!(message(&out).len() < size - 24);
            }
            assert!(out.message[size.saturating_sub(24)..].iter().all(|&b| b == b'#' as c_char));
        }
    }
}
