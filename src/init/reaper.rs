//! The init's life after the program's exec: reap what is orphaned, tell how the program ended, and
//! leave nobody alive.

use crate::child::arch::{nr, syscall};
use crate::child::channel;
use crate::child::interpreter::{Context, SLOTS};
use crate::child::plan::{Ended, Header, Note, mode, request};
use crate::exit;
use crate::spawn::{POLLIN, Pollfd, Spawned};

const SIGKILL: usize = 9;
const P_ALL: usize = 0;
const P_PID: usize = 1;
const WNOHANG: usize = 1;
/// Also children that announce their end by another signal than SIGCHLD.
const WALL: usize = 0x4000_0000;
const WEXITED: usize = 4;
const CLD_EXITED: i32 = 1;
const CLD_DUMPED: i32 = 3;

/// The parts of siginfo_t that waitid(2) fills.
#[repr(C)]
struct Siginfo {
    signo: i32,
    errno: i32,
    code: i32,
    padding: i32,
    pid: i32,
    uid: u32,
    status: i32,
    rest: [u8; 100],
}

static mut SIGINFO: Siginfo =
    Siginfo { signo: 0, errno: 0, code: 0, padding: 0, pid: 0, uid: 0, status: 0, rest: [0; 100] };
static mut ENDED: Ended =
    Ended { note: Note { kind: request::ENDED, first: 0, second: 0, reserved: 0 }, usage: [0; 18] };
/// What a signalfd gives, and the list of children: read and thrown away, or parsed at once.
static mut BUFFER: [u8; 4096] = [0; 4096];

/// Reaps until the program has ended, the host is gone, or the host says so; then ends everything.
pub fn reap_until_the_end(context: &Context, header: &Header, spawned: Spawned) -> ! {
    let Spawned { program, signals } = spawned;
    // SAFETY: masked to the array's size.
    let children =
        unsafe { *context.slots.as_ptr().add(header.children_slot as usize & (SLOTS - 1)) } as i32;
    let children = if header.mode & mode::PID_NAMESPACE != 0 { -1 } else { children };
    close_all_but([context.socket, header.host_pidfd, children, signals]);
    let mut polled = [signals, header.host_pidfd, context.socket].map(|fd| Pollfd {
        fd,
        events: POLLIN,
        revents: 0,
    });
    let mut more = false;
    loop {
        let now = [0i64; 2];
        let timeout = if more { &raw const now as usize } else { 0 };
        // SAFETY: three entries and a time, in this frame.
        unsafe { syscall(nr::PPOLL, [(&raw mut polled) as usize, 3, timeout, 0, 0, 0]) };
        // The host first: whatever the program keeps this process busy with, it ends with its host.
        if polled[1].revents != 0 {
            break;
        }
        // The host says KILL, or nobody is there any more to hear of the end.
        if polled[2].revents != 0 {
            kill(program as usize);
            polled[2].fd = -1;
        }
        if more || polled[0].revents != 0 {
            drain(signals);
            if reap(P_PID, program, 1) == Reaped::Program {
                tell(context.socket);
                break;
            }
            match reap(P_ALL, program, ROUND) {
                Reaped::Program => {
                    tell(context.socket);
                    break;
                }
                left => more = left == Reaped::Some,
            }
        }
    }
    if children >= 0 {
        kill_children(signals, children);
    } else if header.mode & mode::PID_NAMESPACE == 0 {
        // Without a list only the program itself is known by its pid, and it may be reaped already.
        kill(program as usize);
    }
    // In a pid namespace of its own the kernel now kills and reaps everybody else.
    exit(0)
}

/// How many are reaped before the host is looked at again: a crowd of children makes each search long,
/// and four busy ones can make zombies faster than they are taken away.
const ROUND: u32 = 64;

/// What a round of reaping found.
#[derive(PartialEq, Eq)]
enum Reaped {
    /// The program; status and usage stand in ENDED.
    Program,
    /// As many as were asked for: there may be more.
    Some,
    /// Nobody is left who has ended.
    All,
}

/// Takes the pending signals away, before what they tell of is looked at.
fn drain(signals: i32) {
    // SAFETY: the only user of the buffer.
    unsafe { syscall(nr::READ, [signals as usize, (&raw mut BUFFER) as usize, 4096, 0, 0, 0]) };
}

/// Reaps up to `most` of those that have ended.
fn reap(which: usize, program: i32, most: u32) -> Reaped {
    for _ in 0..most {
        // SAFETY: the only user of these statics; the kernel writes a siginfo and a rusage.
        let (reaped, info) = unsafe {
            (*&raw mut SIGINFO).pid = 0;
            let info = (&raw mut SIGINFO) as usize;
            let usage = (&raw mut ENDED.usage) as usize;
            let options = WEXITED | WNOHANG | WALL;
            let reaped = syscall(nr::WAITID, [which, program as usize, info, options, usage, 0]);
            (reaped, &*&raw const SIGINFO)
        };
        if reaped < 0 || info.pid == 0 {
            return Reaped::All;
        }
        // A program that asked to be traced shows its stops to its parent, whatever was asked for:
        // they are no end.
        if info.pid == program && (CLD_EXITED..=CLD_DUMPED).contains(&info.code) {
            // SAFETY: as above.
            unsafe {
                let ended = &mut *&raw mut ENDED;
                ended.note.first = info.code;
                ended.note.second = info.status;
            }
            return Reaped::Program;
        }
    }
    Reaped::Some
}

/// Tells the host how the program ended.
fn tell(socket: i32) {
    // SAFETY: written by `reap`; the socket is ours.
    unsafe { channel::send(socket, (&raw const ENDED).cast(), size_of::<Ended>(), -1) };
}

/// Without a pid namespace: kills every child until there is none. What a killed child leaves behind
/// becomes a child of this process (it is a subreaper), and is killed in the next round. A child
/// that was not waited for keeps its pid, so no stranger can be hit.
fn kill_children(signals: i32, children: i32) {
    const ROUND_NS: i64 = 2_000_000;
    loop {
        // SAFETY: the only user of the buffer.
        let len = unsafe {
            syscall(nr::PREAD64, [children as usize, (&raw mut BUFFER) as usize, 4096, 0, 0, 0])
        };
        if len <= 0 {
            return;
        }
        let mut killed = false;
        let mut pid = 0usize;
        for n in 0..len as usize {
            // SAFETY: n < len <= 4096.
            let byte = unsafe { (&raw const BUFFER).cast::<u8>().add(n).read() };
            if byte.is_ascii_digit() {
                pid = pid * 10 + usize::from(byte - b'0');
                continue;
            }
            if pid > 1 {
                killed |= kill(pid);
            }
            pid = 0;
        }
        if !killed {
            return;
        }
        let mut polled = Pollfd { fd: signals, events: POLLIN, revents: 0 };
        let time = [0i64, ROUND_NS];
        // SAFETY: one entry and a time, in this frame.
        unsafe {
            syscall(nr::PPOLL, [(&raw mut polled) as usize, 1, &raw const time as usize, 0, 0, 0])
        };
        drain(signals);
        reap(P_ALL, -1, ROUND);
    }
}

/// Kills a child; true if that was possible.
fn kill(pid: usize) -> bool {
    // SAFETY: a child that was not waited for keeps its pid: nobody else is hit.
    unsafe { syscall(nr::KILL, [pid, SIGKILL, 0, 0, 0, 0]) == 0 }
}

/// Closes every descriptor but these; -1 counts for none.
fn close_all_but(keep: [i32; 4]) {
    let mut from = 0;
    loop {
        // The lowest one that is still ahead.
        let next =
            keep.iter().fold(i32::MAX, |next, &fd| if fd >= from && fd < next { fd } else { next });
        if next == i32::MAX {
            return close_range(from as usize, u32::MAX as usize);
        }
        if next > from {
            close_range(from as usize, next as usize - 1);
        }
        from = next + 1;
    }
}

fn close_range(first: usize, last: usize) {
    // SAFETY: descriptors that nothing here uses.
    unsafe { syscall(nr::CLOSE_RANGE, [first, last, 0, 0, 0, 0]) };
}
