//! A started program: waiting for its end, signalling it, and ending everything of it.

mod status;

use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::child::plan::request;
use crate::error::{Error, Location, Result};
use crate::notes::{self, Received};
use crate::plan::Shape;
use crate::start::{Memfd, recorded_failure};
use crate::sys::{self, Deadline, NotCancelled};
pub use status::{Status, Usage, hand_over_tracee, reap};
use status::{exit_info, status_of};

/// How long an init may take to end everybody, before it is killed itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is told to go on meanwhile.
const ROUND: Duration = Duration::from_millis(10);

/// A started program.
pub struct Process {
    shape: Shape,
    pid: c_int,
    pidfd: OwnedFd,
    /// The init and the channel to it.
    init: Option<(OwnedFd, OwnedFd)>,
    /// The init's pid in the host's pid namespace, or 0.
    init_pid: c_int,
    /// Whether the init has a pid namespace of its own.
    pid_namespace: bool,
    /// Holds the control block, where a failure after the start's return is written down.
    memfd: Option<Memfd>,
    unenforced: u64,
    /// This process is the program's tracer.
    traced: bool,
    /// The channel has no other end any more: only the init's own end is still to come.
    hung_up: AtomicBool,
    ended: Mutex<Option<Status>>,
}

impl Process {
    /// The host's own child.
    pub fn of_child(
        shape: Shape,
        pid: c_int,
        pidfd: OwnedFd,
        memfd: Option<Memfd>,
        unenforced: u64,
    ) -> Process {
        Process {
            shape,
            pid,
            pidfd,
            init: None,
            init_pid: 0,
            pid_namespace: false,
            memfd,
            unenforced,
            traced: false,
            hung_up: AtomicBool::new(false),
            ended: Mutex::new(None),
        }
    }

    /// An init's child.
    pub fn of_init(
        program: (c_int, OwnedFd),
        (init_pid, init): (c_int, (OwnedFd, OwnedFd)),
        memfd: Option<Memfd>,
        unenforced: u64,
        pid_namespace: bool,
    ) -> Process {
        let (pid, pidfd) = program;
        Process {
            shape: Shape::Init,
            pid,
            pidfd,
            init: Some(init),
            init_pid,
            pid_namespace,
            memfd,
            unenforced,
            traced: false,
            hung_up: AtomicBool::new(false),
            ended: Mutex::new(None),
        }
    }

    /// The same, traced by a thread of this process.
    pub fn traced(mut self, traced: bool) -> Process {
        self.traced = traced;
        self
    }

    /// The program's pid in the host's pid namespace.
    pub fn pid(&self) -> c_int {
        self.pid
    }

    /// The program's pidfd.
    pub fn pidfd(&self) -> c_int {
        self.pidfd.as_raw_fd()
    }

    /// Readable when nothing of the sandbox is left.
    pub fn tree_fd(&self) -> c_int {
        self.init.as_ref().map_or(self.pidfd(), |(init, _)| init.as_raw_fd())
    }

    /// The shape that was chosen.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// True if the kernel itself ends everything when the host dies.
    pub fn dies_with_host(&self) -> bool {
        self.init.is_some() && self.pid_namespace
    }

    /// What best effort left out.
    pub fn unenforced(&self) -> u64 {
        self.unenforced
    }

    /// Waits for the program's end; None: for ever.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Status> {
        let _not_cancelled = NotCancelled::begin();
        let deadline = Deadline::after(timeout);
        loop {
            let looked = match &self.init {
                None => self.look_at_child(),
                Some((init, channel)) => self.look_at_init(init, channel),
            };
            if let Some(status) = looked? {
                return Ok(status);
            }
            if deadline.is_over() {
                return Err(Error::at(Location::Wait, libc::ETIMEDOUT));
            }
            // Between the program's end and the init's note lie a few microseconds, and the note (or
            // the init's own end) is what is waited for.
            match &self.init {
                None => _ = sys::poll([self.pidfd()], deadline.left()),
                Some((init, channel)) => self.wait_for_note(init, channel, deadline),
            }
        }
    }

    /// Until the init may have something to say. It does so a few microseconds after the program's end;
    /// if not, it may have been stopped from inside, and is told to go on.
    fn wait_for_note(&self, init: &OwnedFd, channel: &OwnedFd, deadline: Deadline) {
        let channel = if self.hung_up.load(Relaxed) { -1 } else { channel.as_raw_fd() };
        let ends = [channel, init.as_raw_fd(), self.pidfd()];
        let [note, init_ended, program_ended] = sys::poll(ends, deadline.left());
        if program_ended && !note && !init_ended {
            let round = deadline.left().unwrap_or(ROUND).min(ROUND);
            if !sys::poll([channel, init.as_raw_fd()], Some(round)).contains(&true) {
                let _ = sys::send_signal(init.as_fd(), libc::SIGCONT);
            }
        }
    }

    fn ended(&self) -> MutexGuard<'_, Option<Status>> {
        // Nothing panics while the lock is held: a poisoned lock cannot be, and would hold good data.
        self.ended.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Reaps the host's own child, once.
    fn look_at_child(&self) -> Result<Option<Status>> {
        let mut ended = self.ended();
        if ended.is_none() && sys::has_ended(self.pidfd.as_fd()) {
            *ended = Some(reap(self.pidfd.as_fd()).ok_or_else(|| {
                Error::with_message(
                    Location::Wait,
                    libc::ECHILD,
                    format_args!("somebody else of this process reaped the program, and this kernel cannot tell how it ended"),
                )
            })?);
        }
        if ended.is_some() {
            self.late_failure()?;
        }
        Ok(*ended)
    }

    /// Looks for the init's note. It is never taken out: every thread that waits will see it.
    fn look_at_init(&self, init: &OwnedFd, channel: &OwnedFd) -> Result<Option<Status>> {
        self.hand_over_tracee();
        let mut ended = self.ended();
        while ended.is_none() {
            // In this order: an init that has ended sends nothing any more.
            let init_ended = sys::has_ended(init.as_fd());
            match notes::receive(channel, true) {
                // The init's word counts only if it is the init's, and if the kernel says so too: a
                // program that may trace the init could have got hold of its end of the channel.
                Received::Note(note, sender, _)
                    if note.kind == request::ENDED
                        && sender == self.init_pid
                        && sys::has_ended(self.pidfd.as_fd()) =>
                {
                    *ended = Some(status_of(&note))
                }
                // EXECED, after a start that returned at the stop; or a forgery.
                Received::Note(..) => _ = notes::receive(channel, false),
                Received::Nothing if !init_ended => return Ok(None),
                Received::Nothing | Received::End => {
                    self.late_failure()?;
                    self.hung_up.store(true, Relaxed);
                    if !init_ended {
                        return Ok(None);
                    }
                    // The init was killed, and took the program along.
                    *ended = Some(exit_info(self.pidfd.as_fd()).ok_or_else(|| {
                        Error::with_message(
                            Location::Wait,
                            libc::ECHILD,
                            format_args!("the init was killed before the program's end"),
                        )
                    })?);
                }
            }
        }
        Ok(*ended)
    }

    fn hand_over_tracee(&self) {
        if self.traced {
            hand_over_tracee(self.pid, self.pidfd.as_fd());
        }
    }

    /// An exec that failed after the start had returned at the stop before the filter.
    fn late_failure(&self) -> Result<()> {
        match &self.memfd {
            // SAFETY: mapped as long as the memfd's handle lives.
            Some(memfd) => recorded_failure(unsafe { &*memfd.control() }),
            None => Ok(()),
        }
    }

    /// Signals the program.
    pub fn kill(&self, signal: c_int) -> Result<()> {
        if self.ended().is_some() {
            return Err(Error::at(Location::Kill, libc::ESRCH));
        }
        sys::send_signal(self.pidfd.as_fd(), signal)
            .map_err(|errno| Error::at(Location::Kill, errno))
    }

    /// Kills everything; how the program ended can still be asked for.
    pub fn kill_tree(&self) -> Result<()> {
        let _not_cancelled = NotCancelled::begin();
        if let Some((_, channel)) = &self.init {
            notes::send_kill(channel);
        }
        match sys::send_signal(self.pidfd.as_fd(), libc::SIGKILL) {
            Ok(()) | Err(libc::ESRCH) => Ok(()),
            // A program with another uid, under an unprivileged host: the init, which may, was told.
            Err(libc::EPERM) if self.init.is_some() => Ok(()),
            Err(errno) => Err(Error::at(Location::Kill, errno)),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.init.is_none() && self.ended().is_some() {
            return;
        }
        let _not_cancelled = NotCancelled::begin();
        let _ = self.kill_tree();
        if self.traced {
            self.let_tracee_die();
        }
        match &self.init {
            None => drop(reap(self.pidfd.as_fd())),
            Some((init, _)) => self.end_init(init.as_fd()),
        }
    }
}

impl Process {
    /// A killed tracee may stop once more on its way out (PTRACE_EVENT_EXIT), for its tracer: if that
    /// is this thread it lets it go on.
    fn let_tracee_die(&self) {
        let patience = Deadline::after(Some(PATIENCE));
        while !sys::poll([self.pidfd()], Some(ROUND))[0] && !patience.is_over() {
            // SAFETY: no memory of ours is involved; a thread that is not the tracer is refused.
            unsafe { libc::ptrace(libc::PTRACE_CONT, self.pid, 0usize, 0usize) };
        }
        self.hand_over_tracee();
    }

    /// Ends the init and reaps it.
    fn end_init(&self, init: BorrowedFd) {
        if self.pid_namespace {
            // Takes everybody in the namespace along.
            let _ = sys::send_signal(init, libc::SIGKILL);
            if !self.traced {
                reap(init);
                return;
            }
        }
        // Without a pid namespace it was told to kill everybody. A program with its uid may have
        // stopped it, again and again; and in the end it can only be killed itself. A tracer's further
        // tracees hold up a pid namespace until the tracer has reaped them: that is not waited for.
        let patience = Deadline::after(Some(PATIENCE));
        while !sys::poll([init.as_raw_fd()], Some(ROUND))[0] && !patience.is_over() {
            let _ = sys::send_signal(init, libc::SIGCONT);
        }
        let _ = sys::send_signal(init, libc::SIGKILL);
        if !self.traced || sys::poll([init.as_raw_fd()], Some(ROUND))[0] {
            reap(init);
        }
    }
}
