//! Answering the child until it has exec'd.
//!
//! The child asks by a futex word or over the init's socket; every wait ends at the child's death and
//! at the start's deadline. Whatever fails here, the caller's `Child` kills and reaps it.

use core::ffi::c_int;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::clone::Child;
use super::files;
use crate::child::channel::send_note;
use crate::child::plan::{Control, answer, request, stage, word};
use crate::error::{Error, Location, Result};
use crate::launch::Launch;
use crate::notes::{self, Received};
use crate::plan::host::Host;
use crate::process::hand_over_tracee;
use crate::runner::Runner;
use crate::sys::{self, Deadline};

/// How long the host sleeps at most before it looks whether the embedded program is still there: only
/// a kill in the few microseconds before it owns its word would go unnoticed otherwise.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How often an init that says nothing is told to go on.
const CONTINUE_AGAIN: Duration = Duration::from_millis(50);

/// How long an init may take to reap a program that was just killed, before it is killed itself.
const PATIENCE: Duration = Duration::from_millis(200);

/// The program of an init, as it introduced itself.
pub struct Program {
    /// Pid in our pid namespace.
    pub pid: c_int,
    /// Its pidfd.
    pub pidfd: OwnedFd,
}

/// One start's questions and answers.
pub struct Conversation<'a> {
    runner: &'a Runner,
    launch: &'a Launch,
    child: &'a Child<'a>,
    deadline: Deadline,
    program: Option<Program>,
    stopping: bool,
}

impl<'a> Conversation<'a> {
    /// With a child that was just cloned.
    pub fn new(
        runner: &'a Runner,
        launch: &'a Launch,
        child: &'a Child<'a>,
        deadline: Deadline,
    ) -> Conversation<'a> {
        Conversation { runner, launch, child, deadline, program: None, stopping: false }
    }

    fn control(&self) -> &'a Control {
        self.child.control()
    }

    /// Until the cloned child has exec'd: the program (direct) or the embedded program.
    pub fn until_entry_is_over(&mut self) -> Result<()> {
        self.until_gone(&self.control().entry)?;
        // In this order: the embedded program may already be at work, and its failures are told later.
        let failure = self.failure();
        match self.control().stage.load(Acquire) {
            stage::INIT => Ok(()),
            stage::EXEC if self.child.is_shared() => Ok(()),
            stage::EXEC | stage::EXEC_INIT => failure,
            _ => failure.and(Err(self.died())),
        }
    }

    /// Until the embedded program has become the program, or has stopped before its filter.
    pub fn until_embedded_is_over(&mut self) -> Result<()> {
        self.until_gone(&self.control().embedded)?;
        if self.stopping {
            return self.until_stopped(self.child.pid(), self.child.pidfd());
        }
        self.failure()?;
        if self.control().stage.load(Acquire) == stage::EXEC { Ok(()) } else { Err(self.died()) }
    }

    /// Answers questions until the word's owner is gone, or says that it stops.
    fn until_gone(&mut self, asked: &AtomicU32) -> Result<()> {
        loop {
            let seen = asked.load(Acquire);
            if seen & word::OWNER == 0 || cfg!(feature = "valgrind") && self.fork_is_over() {
                return Ok(());
            }
            if seen & word::ASKING == 0 {
                if self.deadline.is_over() {
                    return Err(self.too_late());
                }
                let left = self.deadline.left().unwrap_or(Duration::MAX);
                sys::futex_wait(asked, seen, Some(left.min(LOOK_AGAIN)));
                if asked.load(Acquire) == word::RUNNING && sys::has_ended(self.child.pidfd()) {
                    return Ok(());
                }
                continue;
            }
            let kind = self.control().request.load(Acquire);
            let answered = self.answer(kind, None);
            let _ = asked.compare_exchange(seen, seen & !word::ASKING, AcqRel, Acquire);
            self.control()
                .answer
                .store(if answered.is_ok() { answer::GO } else { answer::ABORT }, Release);
            sys::futex_wake(&self.control().answer);
            answered?;
            if self.stopping {
                return Ok(());
            }
        }
    }

    /// Until the init's program has exec'd, or has stopped before its filter.
    pub fn until_program_is_execed(&mut self, channel: &OwnedFd) -> Result<Program> {
        loop {
            match notes::receive(channel, false) {
                Received::Note(note, sender, pidfd) => {
                    if let Some(pidfd) = pidfd {
                        self.program = Some(Program { pid: sender, pidfd });
                    }
                    match note.kind {
                        request::EXECED | request::STOPPED => break,
                        request::ENDED => return Err(self.died()),
                        request::PROGRAM => continue,
                        request::STOPPING => {}
                        kind => {
                            let answered = self.answer(kind, Some(channel));
                            let said = if answered.is_ok() { answer::GO } else { answer::ABORT };
                            // SAFETY: a socket of ours.
                            unsafe { send_note(channel.as_raw_fd(), said, -1) };
                            answered?;
                            continue;
                        }
                    }
                    let (pid, pidfd) = self.program_or_died()?;
                    self.until_stopped(pid, pidfd)?;
                    break;
                }
                Received::Nothing => {
                    if self.deadline.is_over() {
                        return Err(self.too_late());
                    }
                    let tracee = self.program.as_ref().filter(|_| self.runner.ptrace);
                    let tracee_fd = tracee.map_or(-1, |program| program.pidfd.as_raw_fd());
                    let fds = [channel.as_raw_fd(), self.child.pidfd().as_raw_fd(), tracee_fd];
                    let left = self.deadline.left().unwrap_or(Duration::MAX);
                    let [note, ended, _] = sys::poll(fds, Some(left.min(CONTINUE_AGAIN)));
                    if !note && !ended && !self.runner.makes(libc::CLONE_NEWPID) {
                        // The program may have stopped its init, which it can where no pid namespace
                        // lies between them.
                        let _ = sys::send_signal(self.child.pidfd(), libc::SIGCONT);
                    }
                    if let Some(program) = tracee {
                        hand_over_tracee(program.pid, program.pidfd.as_fd());
                    }
                    if ended && !note {
                        self.failure()?;
                        return Err(self.died());
                    }
                }
                Received::End => {
                    self.failure()?;
                    return Err(self.died());
                }
            }
        }
        self.program.take().ok_or_else(|| self.died())
    }

    /// Ends the program of a start that failed, and lets its init reap it.
    pub fn end_program(&self) {
        if let Some(program) = &self.program {
            let _ = sys::send_signal(program.pidfd.as_fd(), libc::SIGKILL);
            if self.runner.ptrace {
                sys::poll([program.pidfd.as_raw_fd()], Some(PATIENCE));
                hand_over_tracee(program.pid, program.pidfd.as_fd());
            }
            sys::poll([self.child.pidfd().as_raw_fd()], Some(PATIENCE));
        }
    }

    fn program_or_died(&self) -> Result<(c_int, BorrowedFd<'_>)> {
        let program = self.program.as_ref().ok_or_else(|| self.died())?;
        Ok((program.pid, program.pidfd.as_fd()))
    }

    /// Does what the child asks for.
    fn answer(&mut self, kind: u32, channel: Option<&OwnedFd>) -> Result<()> {
        match kind {
            request::MAPS => files::write_maps(self.runner, &Host::look(), self.child.pidfd()),
            request::SYNC => {
                // The caller's own time is not the setup's.
                let began = Instant::now();
                let said = self.sync(channel);
                self.deadline = self.deadline.later(began.elapsed());
                said
            }
            request::SEIZE => self.seize(channel),
            request::STOPPING => {
                self.stopping = true;
                Ok(())
            }
            _ => Err(Error::at(Location::Channel, libc::EPROTO)),
        }
    }

    /// The program as the caller's functions see it.
    fn target(&self, channel: Option<&OwnedFd>) -> Result<(c_int, BorrowedFd<'_>)> {
        if channel.is_some() {
            self.program_or_died()
        } else {
            Ok((self.child.pid(), self.child.pidfd()))
        }
    }

    fn sync(&self, channel: Option<&OwnedFd>) -> Result<()> {
        let Some(function) = self.runner.sync_func else { return Ok(()) };
        let (pid, pidfd) = self.target(channel)?;
        // SAFETY: the caller promised a function of this type that returns.
        match unsafe { function(pid, pidfd.as_raw_fd(), self.launch.sync_arg) } {
            0 => Ok(()),
            said => Err(Error::with_message(
                Location::SyncFunc,
                said.checked_abs().filter(|errno| *errno < 4096).unwrap_or(libc::ECANCELED),
                format_args!("the sync function returned {said}"),
            )),
        }
    }

    fn seize(&self, channel: Option<&OwnedFd>) -> Result<()> {
        let (pid, _) = self.target(channel)?;
        // SAFETY: no memory of ours is involved.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0usize, 0usize) };
        sys::check(seized).map(drop).map_err(|errno| Error::at(Location::Ptrace, errno))
    }

    /// Until a process that said it would stop has stopped. Its stop is left for the caller's own
    /// waitpid to see.
    fn until_stopped(&self, pid: c_int, pidfd: BorrowedFd) -> Result<()> {
        const PAUSE: Duration = Duration::from_micros(50);
        loop {
            // SAFETY: all zero is a valid siginfo_t, and waitid fills it.
            let stopped = unsafe {
                let mut info: libc::siginfo_t = core::mem::zeroed();
                let options = libc::WSTOPPED | libc::WNOWAIT | libc::WNOHANG | libc::__WALL;
                libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, options) == 0
                    && info.si_pid() == pid
            };
            if stopped || self.program.is_some() && !self.runner.ptrace {
                return Ok(());
            }
            if sys::has_ended(pidfd) {
                self.failure()?;
                return Err(self.died());
            }
            if self.deadline.is_over() {
                return Err(self.too_late());
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The failure that the child wrote down.
    fn failure(&self) -> Result<()> {
        recorded_failure(self.control())
    }

    fn died(&self) -> Error {
        if let Err(failure) = self.failure() {
            return failure;
        }
        let unread = self.control().stage.load(Acquire) == stage::EXEC_INIT;
        if let Some(errno) = self.exit_code().filter(|code| unread && *code > 0) {
            let message = format_args!("the embedded program could not read its plan");
            return Error::with_message(Location::InitPlan, errno, message);
        }
        let step = self.control().step.load(Acquire);
        Error::with_message(
            Location::Died,
            libc::ESRCH,
            format_args!("the child was killed in step {} of list {}", step & 0xffff, step >> 16),
        )
    }

    /// The child's exit code: without a control block the embedded program can say no more.
    fn exit_code(&self) -> Option<c_int> {
        sys::poll([self.child.pidfd().as_raw_fd()], Some(LOOK_AGAIN));
        // SAFETY: all zero is a valid siginfo_t, and waitid fills it.
        unsafe {
            let mut info: libc::siginfo_t = core::mem::zeroed();
            let options = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG;
            let pidfd = self.child.pidfd().as_raw_fd() as libc::id_t;
            let waited = libc::waitid(libc::P_PIDFD, pidfd, &mut info, options) == 0;
            (waited && info.si_pid() != 0 && info.si_code == libc::CLD_EXITED)
                .then(|| info.si_status())
        }
    }

    fn too_late(&self) -> Error {
        let step = self.control().step.load(Acquire);
        let error = Error::with_message(
            Location::SetupTimeout,
            libc::ETIMEDOUT,
            format_args!("the child was in step {} of list {}", step & 0xffff, step >> 16),
        );
        error.index((step & 0xffff) as usize)
    }

    /// Under valgrind the child is a fork: the kernel clears no word of ours at its exec.
    fn fork_is_over(&self) -> bool {
        let control = self.control();
        let over = control.errno.load(Acquire) != 0 || sys::has_ended(self.child.pidfd());
        let began = control.stage.load(Acquire) == stage::EXEC;
        if began && !over {
            std::thread::sleep(LOOK_AGAIN);
        }
        over || began
    }
}

/// The failure that a control block holds.
pub fn recorded_failure(control: &Control) -> Result<()> {
    let errno = control.errno.load(Acquire);
    if errno == 0 {
        return Ok(());
    }
    let location = Location::from_number(control.location.load(Acquire)).unwrap_or(Location::Died);
    Err(Error { index: control.index.load(Acquire), ..Error::at(location, errno as c_int) })
}
