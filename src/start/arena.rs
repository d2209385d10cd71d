//! The memory that a cloned child uses of ours: stack, context, control block.

use core::ffi::c_int;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering::AcqRel, Ordering::Acquire};

use crate::child::interpreter::Context;
use crate::child::plan::Control;
use crate::error::{Error, Location, Result};
use crate::sys;

/// What the child needs of a stack is a few hundred bytes; a page below it catches what should not be.
const STACK_SIZE: usize = 16 * 1024;
const GUARD_SIZE: usize = 4096;
/// Context and control block, above the stack.
const TOP_SIZE: usize = 4096;
const SIZE: usize = GUARD_SIZE + STACK_SIZE + TOP_SIZE;

/// Under valgrind, which runs the child as a fork, shared memory must be said to be shared.
const SHARING: c_int =
    if cfg!(feature = "valgrind") { libc::MAP_SHARED } else { libc::MAP_PRIVATE };

/// A runner's spare arena: mapping, touching and unmapping one costs a fifth of a plain start. Taken
/// and given back by single atomic steps: of starts side by side one has it, the others map their own.
#[derive(Default)]
pub struct Spare(AtomicPtr<u8>);

impl Drop for Spare {
    fn drop(&mut self) {
        unmap(*self.0.get_mut());
    }
}

/// Memory for one child. Given back or unmapped only when the child has exec'd or died.
pub struct Arena<'a> {
    memory: *mut u8,
    spare: &'a Spare,
}

impl<'a> Arena<'a> {
    /// The spare one, or a new one.
    pub fn new(spare: &'a Spare) -> Result<Arena<'a>> {
        let memory = spare.0.swap(null_mut(), AcqRel);
        if !memory.is_null() {
            return Ok(Arena { memory, spare });
        }
        let failed = || Error::at(Location::Arena, sys::errno());
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = SHARING | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let memory = unsafe { libc::mmap(null_mut(), SIZE, protection, flags, -1, 0) };
        if memory == libc::MAP_FAILED {
            return Err(failed());
        }
        // SAFETY: the first page of the new mapping.
        if unsafe { libc::mprotect(memory, GUARD_SIZE, libc::PROT_NONE) } != 0 {
            let error = failed();
            unmap(memory.cast());
            return Err(error);
        }
        Ok(Arena { memory: memory.cast(), spare })
    }

    /// Where the context goes; the stack ends here.
    pub fn context(&self) -> *mut Context {
        const { assert!(size_of::<Context>() + size_of::<Control>() + 64 <= TOP_SIZE) };
        // SAFETY: inside the mapping, at a page's beginning.
        unsafe { self.memory.add(GUARD_SIZE + STACK_SIZE).cast() }
    }

    /// Where the control block goes, unless it is shared with the embedded program.
    pub fn control(&self) -> *mut Control {
        // SAFETY: behind the context, inside the page (checked above).
        unsafe { self.context().byte_add(size_of::<Context>().next_multiple_of(64)).cast() }
    }
}

impl Drop for Arena<'_> {
    fn drop(&mut self) {
        if self.spare.0.compare_exchange(null_mut(), self.memory, AcqRel, Acquire).is_err() {
            unmap(self.memory);
        }
    }
}

fn unmap(memory: *mut u8) {
    if !memory.is_null() {
        // SAFETY: an arena's own mapping, and its last user.
        unsafe { libc::munmap(memory.cast(), SIZE) };
    }
}
