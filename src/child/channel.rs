//! Asking the host for something, and waiting for its answer.
//!
//! A child that becomes the program uses futex words in memory it shares with the host: no descriptor,
//! no pipe. The init has a socket, because it hands over descriptors and outlives the start. Both
//! waits end when the host does: by the parent-death signal.

use core::ptr::null_mut;
use core::sync::atomic::Ordering::{Acquire, Release};

use super::arch::{nr, syscall};
use super::interpreter::Context;
use super::plan::{Control, Note, answer, word};

const FUTEX_WAIT: usize = 0;
const FUTEX_WAKE: usize = 1;
const MSG_NOSIGNAL: usize = 0x4000;
const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const EINTR: isize = -4;

/// struct iovec.
#[repr(C)]
struct Iovec {
    base: *mut u8,
    len: usize,
}

/// struct msghdr.
#[repr(C)]
struct Msghdr {
    name: *mut u8,
    name_len: u32,
    iov: *mut Iovec,
    iov_len: usize,
    control: *mut u8,
    control_len: usize,
    flags: i32,
}

/// A control message with up to two descriptors.
#[repr(C, align(8))]
struct Rights {
    len: usize,
    level: i32,
    kind: i32,
    fds: [i32; 2],
}

/// Asks the host and waits until it says go; false: the start is over.
///
/// # Safety
/// `context` is the running child's.
pub unsafe fn ask(context: &Context, kind: u32, fd: i32) -> bool {
    if context.socket >= 0 {
        // SAFETY: the socket is the embedded program's own.
        return unsafe { send_note(context.socket, kind, fd) && receive_answer(context.socket) };
    }
    // SAFETY: the control block and its words outlive the child.
    let (control, asking) = unsafe { (&*context.control, &*context.word) };
    control.answer.store(0, Release);
    control.request.store(kind, Release);
    asking.fetch_or(word::ASKING, Release);
    futex(context.word.cast_mut().cast(), FUTEX_WAKE, 1);
    loop {
        match control.answer.load(Acquire) {
            0 => futex(control.answer.as_ptr(), FUTEX_WAIT, 0),
            said => return said == answer::GO,
        };
    }
}

/// Tells the host something it need not answer.
///
/// # Safety
/// As for `ask`.
pub unsafe fn tell(context: &Context, kind: u32, fd: i32) -> bool {
    // SAFETY: the caller's. Without a socket the host takes note by answering.
    unsafe {
        if context.socket >= 0 {
            send_note(context.socket, kind, fd)
        } else {
            ask(context, kind, fd)
        }
    }
}

fn futex(word: *mut u32, operation: usize, value: usize) -> isize {
    // SAFETY: a futex call reads the word and nothing else; not the private kind, because the
    // kernel's own wake at exec and death is not.
    unsafe { syscall(nr::FUTEX, [word as usize, operation, value, 0, 0, 0]) }
}

/// Sends a note that is nothing but its kind.
///
/// # Safety
/// `socket` must be a socket of this process.
pub unsafe fn send_note(socket: i32, kind: u32, fd: i32) -> bool {
    let note = Note { kind, ..Note::default() };
    // SAFETY: the note lives in this frame.
    unsafe { send(socket, (&raw const note).cast(), size_of::<Note>(), fd) >= 0 }
}

/// Sends one message, with a descriptor unless it is -1.
///
/// # Safety
/// `socket` must be a socket of this process, `bytes` must hold `len` bytes.
pub unsafe fn send(socket: i32, bytes: *const u8, len: usize, fd: i32) -> isize {
    let mut rights = Rights { len: 20, level: SOL_SOCKET, kind: SCM_RIGHTS, fds: [fd, 0] };
    let mut iovec = Iovec { base: bytes.cast_mut(), len };
    let (control, control_len) =
        if fd >= 0 { ((&raw mut rights).cast(), 24) } else { (null_mut(), 0) };
    let header = Msghdr {
        name: null_mut(),
        name_len: 0,
        iov: &mut iovec,
        iov_len: 1,
        control,
        control_len,
        flags: 0,
    };
    loop {
        // SAFETY: the header and all it points to live in this frame.
        match unsafe {
            syscall(
                nr::SENDMSG,
                [socket as usize, &raw const header as usize, MSG_NOSIGNAL, 0, 0, 0],
            )
        } {
            EINTR => {}
            sent => return sent,
        }
    }
}

/// Receives a note and, if one came with it, a descriptor; 0: the host is gone.
///
/// # Safety
/// `socket` must be a socket of this process.
pub unsafe fn receive(socket: i32, note: &mut Note, fd: &mut i32) -> isize {
    let mut rights = Rights { len: 0, level: 0, kind: 0, fds: [-1, -1] };
    let mut iovec = Iovec { base: (note as *mut Note).cast(), len: size_of::<Note>() };
    let mut header = Msghdr {
        name: null_mut(),
        name_len: 0,
        iov: &mut iovec,
        iov_len: 1,
        control: (&raw mut rights).cast(),
        control_len: size_of::<Rights>(),
        flags: 0,
    };
    loop {
        // SAFETY: the header and all it points to live in this frame.
        match unsafe {
            syscall(
                nr::RECVMSG,
                [socket as usize, &raw mut header as usize, MSG_CMSG_CLOEXEC, 0, 0, 0],
            )
        } {
            EINTR => {}
            received => {
                *fd = rights.fds[0];
                return received;
            }
        }
    }
}

/// Waits for the host's answer to a question.
unsafe fn receive_answer(socket: i32) -> bool {
    let mut note = Note::default();
    let mut fd = -1;
    // SAFETY: the caller's socket.
    let received = unsafe { receive(socket, &mut note, &mut fd) };
    received == size_of::<Note>() as isize && note.kind == answer::GO
}

/// Writes down which step failed.
pub fn record_failure(control: &Control, errno: i32, location: u32, index: i32) {
    control.location.store(location, Release);
    control.index.store(index, Release);
    control.errno.store(errno as u32, Release);
}
