//! Clones the program and waits for its exec.
//!
//! The program's process shares the memory of the embedded program, never the host's, until it
//! execs: its peak memory then starts from a few kilobytes, and a change of identity or an
//! out-of-memory kill touches nobody else. A close-on-exec pipe tells when it has exec'd or died.

use core::sync::atomic::Ordering::Acquire;

use crate::child::arch::{clone_args, clone_into_entry, nr, syscall};
use crate::child::channel;
use crate::child::interpreter::Context;
use crate::child::plan::{Header, list, mode, request, stage};
use crate::{close, exit};

const STACK_SIZE: usize = 32 * 1024;

#[repr(align(16))]
struct Stack(#[allow(dead_code)] [u8; STACK_SIZE]);

static mut STACK: Stack = Stack([0; STACK_SIZE]);

const CLONE_VM: usize = 0x100;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const SIGCHLD: usize = 17;
const O_CLOEXEC: usize = 0o2000000;
const PR_SET_PDEATHSIG: usize = 1;
pub const POLLIN: i16 = 1;

/// struct pollfd.
#[repr(C)]
pub struct Pollfd {
    pub fd: i32,
    pub events: i16,
    pub revents: i16,
}

/// struct clone_args, as of CLONE_INTO_CGROUP.
#[repr(C)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// The program, and the descriptor that tells of ended children.
pub struct Spawned {
    pub program: i32,
    pub signals: i32,
}

/// Clones the program and returns its pid once it has exec'd or was killed. If one of its steps fails
/// the sandbox ends.
pub fn spawn(context: &mut Context, header: &Header) -> Spawned {
    let signals = child_signals(context);
    let [pipe_read, pipe_write] = pipe_above(context, header);
    // From the clone on the host's end is seen through its pidfd. The parent-death signal is bound to
    // one thread of the host, which may end as soon as the program has stopped for a tracer: before
    // this process runs again.
    // SAFETY: a flag of this process.
    unsafe { syscall(nr::PRCTL, [PR_SET_PDEATHSIG, 0, 0, 0, 0, 0]) };
    context.list = list::PROGRAM;
    let program = clone(context, header);
    if program < 0 {
        fail(context, -program as i32, crate::child::plan::SPAWN_LOCATION);
    }
    close(pipe_write);
    if header.mode & mode::STOPS != 0 {
        wait_for_stop(header, program as i32, signals, pipe_read);
        // SAFETY: the socket is ours.
        unsafe { channel::send_note(context.socket, request::STOPPED, -1) };
    }
    wait_for_exec(header, program as i32, pipe_read);
    close(pipe_read);
    // SAFETY: mapped for good.
    let control = unsafe { &*context.control };
    if control.errno.load(Acquire) != 0 {
        // The init's own end tells the host; the reason stands in the control block.
        wait(program as i32, WEXITED);
        exit(0);
    }
    if control.stage.load(Acquire) == stage::EXEC {
        // SAFETY: the socket is ours.
        unsafe { channel::send_note(context.socket, request::EXECED, -1) };
    }
    Spawned { program: program as i32, signals }
}

/// A signalfd for SIGCHLD, which is blocked since the clone in the host; made before the program, so
/// that running out of descriptors cannot make its end go unnoticed.
fn child_signals(context: &Context) -> i32 {
    const O_CLOEXEC_NONBLOCK: usize = 0o2000000 | 0o4000;
    let mask: u64 = 1 << (SIGCHLD - 1);
    // SAFETY: reads the mask.
    let made = unsafe {
        syscall(nr::SIGNALFD4, [usize::MAX, &raw const mask as usize, 8, O_CLOEXEC_NONBLOCK, 0, 0])
    };
    if made < 0 {
        fail(context, -made as i32, crate::child::plan::SPAWN_LOCATION);
    }
    made as i32
}

/// A close-on-exec pipe whose writing end is out of the way of the program's descriptors.
fn pipe_above(context: &Context, header: &Header) -> [i32; 2] {
    let mut pipe = [0i32; 2];
    // SAFETY: writes two numbers.
    let made = unsafe { syscall(nr::PIPE2, [(&raw mut pipe) as usize, O_CLOEXEC, 0, 0, 0, 0]) };
    if made < 0 {
        fail(context, -made as i32, crate::child::plan::SPAWN_LOCATION);
    }
    const F_DUPFD_CLOEXEC: usize = 1030;
    // SAFETY: copies a descriptor.
    let moved = unsafe {
        syscall(nr::FCNTL, [pipe[1] as usize, F_DUPFD_CLOEXEC, header.floor as usize, 0, 0, 0])
    };
    if moved < 0 {
        fail(context, -moved as i32, crate::child::plan::SPAWN_LOCATION);
    }
    close(pipe[1]);
    [pipe[0], moved as i32]
}

/// Clones the child that walks the program's list: its pid, or a negative errno.
fn clone(context: &mut Context, header: &Header) -> isize {
    let stack = &raw mut STACK as usize;
    let context = context as *mut Context;
    // SAFETY: the stack and the context are static, and the program's process is their only user
    // until it has exec'd.
    unsafe {
        if header.spawn_cgroup >= 0 {
            let args = CloneArgs {
                flags: CLONE_VM as u64 | CLONE_INTO_CGROUP,
                pidfd: 0,
                child_tid: 0,
                parent_tid: 0,
                exit_signal: SIGCHLD as u64,
                stack: stack as u64,
                stack_size: STACK_SIZE as u64,
                tls: 0,
                set_tid: 0,
                set_tid_size: 0,
                cgroup: header.spawn_cgroup as u64,
            };
            return clone_into_entry(
                nr::CLONE3,
                [&raw const args as usize, size_of::<CloneArgs>(), 0, 0, 0],
                context,
            );
        }
        clone_into_entry(
            nr::CLONE,
            clone_args(CLONE_VM | SIGCHLD, stack + STACK_SIZE, 0, 0),
            context,
        )
    }
}

const WSTOPPED: usize = 2;
const WEXITED: usize = 4;
const WNOWAIT: usize = 0x0100_0000;
const WNOHANG: usize = 1;

/// waitid(2) on the program; false: nothing to report yet.
fn wait(program: i32, options: usize) -> bool {
    const P_PID: usize = 1;
    let mut info = [0i32; 32];
    // SAFETY: room for a siginfo_t, whose fifth word is the pid. EINTR cannot be: every signal is
    // blocked.
    let waited = unsafe {
        syscall(nr::WAITID, [P_PID, program as usize, (&raw mut info) as usize, options, 0, 0])
    };
    waited < 0 || info[4] != 0
}

/// Waits until the program has stopped itself, or is gone.
fn wait_for_stop(header: &Header, program: i32, signals: i32, pipe: i32) {
    let mut buffer = [0u64; 16];
    loop {
        if wait(program, WSTOPPED | WEXITED | WNOWAIT | WNOHANG) {
            return;
        }
        if poll_with_host(header, program, [signals, pipe])[1] {
            return;
        }
        // SAFETY: a buffer with its size; what it says is only that somebody's state changed.
        unsafe { syscall(nr::READ, [signals as usize, (&raw mut buffer) as usize, 128, 0, 0, 0]) };
    }
}

/// Waits until the program's process has closed its end of the pipe: by its exec or its death.
fn wait_for_exec(header: &Header, program: i32, pipe: i32) {
    while !poll_with_host(header, program, [-1, pipe])[1] {}
}

/// Waits for either of two descriptors; the host's end is everybody's.
fn poll_with_host(header: &Header, program: i32, fds: [i32; 2]) -> [bool; 2] {
    let [first, second] = fds;
    let mut polled =
        [first, second, header.host_pidfd].map(|fd| Pollfd { fd, events: POLLIN, revents: 0 });
    // SAFETY: three entries, in this frame.
    unsafe { syscall(nr::PPOLL, [(&raw mut polled) as usize, 3, 0, 0, 0, 0]) };
    if polled[2].revents != 0 {
        const SIGKILL: usize = 9;
        // SAFETY: a child that was not waited for keeps its pid: nobody else is hit.
        unsafe { syscall(nr::KILL, [program as usize, SIGKILL, 0, 0, 0, 0]) };
        exit(0);
    }
    [polled[0].revents != 0, polled[1].revents != 0]
}

/// Writes the failure down and ends the sandbox.
fn fail(context: &Context, errno: i32, location: u32) -> ! {
    // SAFETY: mapped for good.
    channel::record_failure(unsafe { &*context.control }, errno, location, -1);
    exit(0)
}
