//! The child's stack, and the clone.

use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Acquire};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::child::arch::{clone_args, clone_into_entry, nr};
use crate::child::interpreter::{Context, SLOTS};
use crate::child::plan::{Control, Header, list, word};
use crate::error::{Error, Location, Result};
use crate::launch::Launch;
use crate::plan::clone_namespaces;
use crate::runner::Runner;
use crate::sys::{self, Deadline, SignalsBlocked};

/// What the child needs of a stack is a few hundred bytes; a page below it catches what should not be.
const STACK_SIZE: usize = 16 * 1024;
const GUARD_SIZE: usize = 4096;
const ARENA_SIZE: usize = GUARD_SIZE + STACK_SIZE + ARENA_TOP;
/// Context and control block, above the stack.
const ARENA_TOP: usize = 4096;

/// How long a killed child may take to let go of our memory before the memory is given up instead.
const PATIENCE: Duration = Duration::from_secs(1);

/// Under valgrind, which runs the child as a fork, shared memory must be said to be shared.
const SHARING: c_int =
    if cfg!(feature = "valgrind") { libc::MAP_SHARED } else { libc::MAP_PRIVATE };

/// The memory that a cloned child uses of ours: stack, context, control block. Unmapped only when
/// the child has exec'd or died.
struct Arena(*mut u8);

impl Arena {
    fn new() -> Result<Arena> {
        let failed = || Error::at(Location::Arena, sys::errno());
        let flags = SHARING | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let memory = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                ARENA_SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(failed());
        }
        let arena = Arena(memory.cast());
        // SAFETY: the first page of the new mapping.
        if unsafe { libc::mprotect(memory, GUARD_SIZE, libc::PROT_NONE) } != 0 {
            return Err(failed());
        }
        Ok(arena)
    }

    fn context(&self) -> *mut Context {
        const { assert!(size_of::<Context>() + size_of::<Control>() + 64 <= ARENA_TOP) };
        // SAFETY: inside the mapping, at a page's beginning.
        unsafe { self.0.add(GUARD_SIZE + STACK_SIZE).cast() }
    }

    fn control(&self) -> *mut Control {
        // SAFETY: behind the context, inside the page (checked above).
        unsafe { self.context().cast::<u8>().add(size_of::<Context>().next_multiple_of(64)).cast() }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and its last user.
        unsafe { libc::munmap(self.0.cast(), ARENA_SIZE) };
    }
}

/// A cloned child that still uses our memory, or has just stopped to.
pub struct Child {
    pid: c_int,
    pidfd: Option<OwnedFd>,
    control: *mut Control,
    arena: Option<Arena>,
}

/// A control block in its first state.
pub fn new_control() -> Control {
    Control {
        entry: AtomicU32::new(word::RUNNING),
        embedded: AtomicU32::new(word::RUNNING),
        request: AtomicU32::new(0),
        answer: AtomicU32::new(0),
        stage: AtomicU32::new(0),
        step: AtomicU32::new(0),
        errno: AtomicU32::new(0),
        location: AtomicU32::new(0),
        index: AtomicI32::new(-1),
        unenforced: AtomicU32::new(0),
    }
}

impl Child {
    /// Clones a child that walks the plan's entry list. `shared`: the control block that the embedded
    /// program will see too.
    pub fn clone(
        runner: &Runner,
        launch: &Launch,
        plan: *const Header,
        shared: Option<*mut Control>,
    ) -> Result<Child> {
        let arena = Arena::new()?;
        let control = shared.unwrap_or(arena.control());
        let context = arena.context();
        // SAFETY: both lie in memory of ours that nobody else knows yet.
        let entry = unsafe {
            control.write(new_control());
            let entry = &raw const (*control).entry;
            context.write(Context {
                plan,
                control,
                word: entry,
                list: list::ENTRY,
                socket: -1,
                slots: [0; SLOTS],
            });
            entry
        };

        // clone(2) and not clone3(2): it can do all we need, and containers refuse it less often.
        let vfork = if cfg!(feature = "valgrind") { libc::CLONE_VFORK } else { 0 };
        let flags =
            libc::CLONE_VM | libc::CLONE_PIDFD | libc::CLONE_CHILD_CLEARTID | vfork | libc::SIGCHLD;
        let flags = flags as u32 as usize | clone_namespaces(runner, launch) as usize;
        let mut pidfd: c_int = -1;
        let args = clone_args(flags, context as usize, &raw mut pidfd as usize, entry as usize);
        let cloned = {
            // A handler of the host must not run in the child.
            let _blocked = SignalsBlocked::new();
            // SAFETY: the stack ends where the context begins; the arena stays until the child is
            // done with it.
            unsafe { clone_into_entry(nr::CLONE, args, context) }
        };
        if cloned < 0 {
            return Err(Error::at(Location::Clone, -cloned as c_int));
        }
        // SAFETY: CLONE_PIDFD gave it to us, close-on-exec.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        Ok(Child { pid: cloned as c_int, pidfd: Some(pidfd), control, arena: Some(arena) })
    }

    /// The control block.
    pub fn control(&self) -> &Control {
        // SAFETY: in the arena, or in the shared page that outlives this child.
        unsafe { &*self.control }
    }

    /// Its pid in our pid namespace.
    pub fn pid(&self) -> c_int {
        self.pid
    }

    /// Its pidfd.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        match &self.pidfd {
            Some(pidfd) => pidfd.as_fd(),
            // SAFETY: -1 is no descriptor; `finish` is the only taker and consumes the child.
            None => unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) },
        }
    }

    /// True once the child uses our memory no longer.
    pub fn is_out_of_our_memory(&self) -> bool {
        if cfg!(feature = "valgrind") {
            return true;
        }
        self.control().entry.load(Acquire) & word::OWNER == 0
    }

    /// The child has exec'd: what remains of it.
    pub fn finish(mut self) -> (c_int, OwnedFd) {
        let pidfd = self.pidfd.take();
        let pid = self.pid;
        match pidfd {
            Some(pidfd) => (pid, pidfd),
            // SAFETY: as in `pidfd`; never reached, since only this function takes it.
            None => (pid, unsafe { OwnedFd::from_raw_fd(libc::AT_FDCWD) }),
        }
    }

    /// Kills the child and reaps it.
    fn end(&mut self) {
        let _ = sys::send_signal(self.pidfd(), libc::SIGKILL);
        let patience = Deadline::after(Some(PATIENCE));
        while !self.is_out_of_our_memory() && !patience.is_over() {
            let seen = self.control().entry.load(Acquire);
            if seen & word::OWNER != 0 {
                sys::futex_wait(&self.control().entry, seen, patience.left());
            }
        }
        if !self.is_out_of_our_memory() {
            // Stuck in the kernel (a dead network mount): it dies when it wakes, and until then our
            // stack and plan have to stay where they are.
            if let Some(arena) = self.arena.take() {
                core::mem::forget(arena);
            }
            return;
        }
        // Somebody else of the host may reap it first: then it is gone, which is what we want.
        crate::process::reap(self.pidfd());
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.pidfd.is_some() {
            self.end();
        }
    }
}
