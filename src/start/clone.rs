//! The clone, and the end of a child whose start failed.

use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Acquire};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::arena::Arena;
use super::shared::Memfd;
use crate::child::arch::{clone_args, clone_into_entry, nr};
use crate::child::interpreter::{Context, SLOTS};
use crate::child::plan::{Control, list, word};
use crate::error::{Error, Location, Result};
use crate::launch::Launch;
use crate::plan::builder::Block;
use crate::plan::clone_namespaces;
use crate::runner::Runner;
use crate::sys::{self, Deadline, SignalsBlocked};

/// How long a killed child may take to let go of our memory before the memory is given up instead.
const PATIENCE: Duration = Duration::from_secs(3);

/// A cloned child that still uses our memory, or has just stopped to.
pub struct Child<'a> {
    pid: c_int,
    pidfd: OwnedFd,
    control: *mut Control,
    /// None: given up.
    memory: Option<Memory<'a>>,
}

/// What a cloned child uses of ours.
struct Memory<'a> {
    _arena: Arena<'a>,
    _plan: Block,
    shared: Option<Memfd>,
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

impl<'a> Child<'a> {
    /// Clones a child that walks the plan's entry list. `shared`: the memfd whose control block the
    /// embedded program will see too.
    pub fn clone(
        runner: &'a Runner,
        launch: &Launch,
        mut plan: Block,
        shared: Option<Memfd>,
    ) -> Result<Child<'a>> {
        let arena = Arena::new(&runner.spare)?;
        let control = shared.as_ref().map_or(arena.control(), Memfd::control);
        let context = arena.context();
        let header = plan.relocate();
        // SAFETY: both lie in memory of ours that nobody else knows yet.
        let entry = unsafe {
            control.write(new_control());
            let entry = &raw const (*control).entry;
            context.write(Context {
                plan: header,
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
            let _blocked = SignalsBlocked::begin();
            // SAFETY: the stack ends where the context begins; the arena stays until the child is
            // done with it.
            unsafe { clone_into_entry(nr::CLONE, args, context) }
        };
        if cloned < 0 {
            return Err(Error::at(Location::Clone, -cloned as c_int));
        }
        // SAFETY: CLONE_PIDFD gave it to us, close-on-exec.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        let memory = Some(Memory { _arena: arena, _plan: plan, shared });
        Ok(Child { pid: cloned as c_int, pidfd, control, memory })
    }

    /// The control block.
    pub fn control(&self) -> &Control {
        // SAFETY: in the arena, or in the shared page that outlives this child.
        unsafe { &*self.control }
    }

    /// True if the control block is shared with the embedded program.
    pub fn is_shared(&self) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.shared.is_some())
    }

    /// Its pid in our pid namespace.
    pub fn pid(&self) -> c_int {
        self.pid
    }

    /// Its pidfd.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// True once the child uses our memory no longer.
    pub fn is_out_of_our_memory(&self) -> bool {
        if cfg!(feature = "valgrind") {
            return true;
        }
        self.control().entry.load(Acquire) & word::OWNER == 0
    }

    /// The child has exec'd: its pid, its pidfd, and what it still shares with us.
    pub fn finish(self) -> (c_int, OwnedFd, Option<Memfd>) {
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is not used again and its drop never runs: each field moves out once.
        let (pidfd, memory) =
            unsafe { (core::ptr::read(&this.pidfd), core::ptr::read(&this.memory)) };
        (this.pid, pidfd, memory.and_then(|memory| memory.shared))
    }
}

impl Drop for Child<'_> {
    /// The start failed: kills the child and reaps it.
    fn drop(&mut self) {
        let _ = sys::send_signal(self.pidfd(), libc::SIGKILL);
        let patience = Deadline::after(Some(PATIENCE));
        while !self.is_out_of_our_memory() && !patience.is_over() {
            let seen = self.control().entry.load(Acquire);
            if seen & word::OWNER != 0 {
                sys::futex_wait(&self.control().entry, seen, patience.left());
            }
        }
        if !self.is_out_of_our_memory() {
            // Stuck in the kernel (a dead network mount): it dies when it wakes. Until then it reads
            // its plan, and the kernel will write a last word into the control block: all of that
            // has to stay where it is, for good.
            core::mem::forget(self.memory.take());
        }
        // Somebody else of the host may reap it first: then it is gone, which is what we want. And
        // what is stuck cannot be waited for.
        if sys::poll([self.pidfd().as_raw_fd()], patience.left())[0] {
            crate::process::reap(self.pidfd());
        }
    }
}
