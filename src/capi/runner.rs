//! `sbx_runner`: new, free, clone. Its setters stand in the files beside this one.

use core::ffi::c_int;

use super::convert::not_null;
use super::error::{report, sbx_error};
use super::handle::{self, Handle};
use crate::error::Result;
use crate::mem::TryClone;
use crate::runner::Runner;

/// The recipe of a sandbox: what to run, with what in its hands, behind which walls.
///
/// Threads: configured by one thread at a time. Nothing changes it after that, a start least of
/// all: any number of threads may start, describe and clone it at once, as long as nobody sets
/// anything meanwhile.
pub struct sbx_runner {
    _opaque: [u8; 0],
}

impl Handle for sbx_runner {
    type Inside = Runner;
    const MAGIC: u64 = 0x7362_785f_7275_6e6e; // "sbx_runn"
    const NAME: &'static str = "runner";
}

/// One call of a setter.
pub unsafe fn set(
    runner: *mut sbx_runner,
    error: *mut sbx_error,
    setter: impl FnOnce(&mut Runner) -> Result<()>,
) -> c_int {
    // SAFETY: both pointers are the caller's, and the runner is nobody else's during a setter.
    unsafe { report(handle::get_mut(runner).and_then(setter).map(|()| 0), error) }
}

/// A new runner with nothing set: a plain child with an empty environment, /dev/null as
/// descriptors 0, 1 and 2, every other descriptor closed, no namespace, no filter. Only
/// sbx_set_args is needed to start.
///
/// Returns NULL when memory runs out. sbx_runner_free ends it.
#[unsafe(no_mangle)]
pub extern "C" fn sbx_runner_new() -> *mut sbx_runner {
    match handle::reserve() {
        Ok(room) => room.fill(Runner::default()),
        Err(_) => core::ptr::null_mut(),
    }
}

/// Ends a runner. What was started from it goes on. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_runner_free(runner: *mut sbx_runner) {
    // SAFETY: the caller's handle, not used by anybody any more.
    unsafe { handle::free(runner) }
}

/// Copies a runner into `*out`: same settings, nothing shared. On failure `*out` is NULL. File
/// descriptors are numbers in a runner: the copy names the same ones.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_runner_clone(
    runner: *const sbx_runner,
    out: *mut *mut sbx_runner,
    error: *mut sbx_error,
) -> c_int {
    let clone = || {
        not_null("out", out)?;
        // SAFETY: not NULL, so room for a pointer.
        unsafe { out.write(core::ptr::null_mut()) };
        // SAFETY: the caller's handle.
        let copy = unsafe { handle::get(runner) }?.try_clone()?;
        let handle = handle::reserve()?.fill(copy);
        // SAFETY: as before.
        unsafe { out.write(handle) };
        Ok(0)
    };
    // SAFETY: the caller's error.
    unsafe { report(clone(), error) }
}
