//! Notes from the init, as the host receives them: with the sender's pid as our pid namespace knows
//! it, and perhaps a pidfd.

use core::ffi::c_int;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::child::plan::{Ended, Note, answer};

/// What came.
pub enum Received {
    /// A note, its sender, and a descriptor.
    Note(Ended, c_int, Option<OwnedFd>),
    /// Not yet anything.
    Nothing,
    /// Nobody is left who could send.
    End,
}

impl core::ops::Deref for Ended {
    type Target = Note;
    fn deref(&self) -> &Note {
        &self.note
    }
}

/// Room for SCM_CREDENTIALS and one descriptor.
#[repr(C, align(8))]
struct ControlBuffer([u8; 128]);

/// Tells the init to kill everybody. Does not wait: an init that does not read has its reasons, and
/// one note is enough.
pub fn send_kill(channel: &OwnedFd) {
    let note = Note { kind: answer::KILL, ..Note::default() };
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the note lives in this frame. Without anybody at the other end nothing is left to kill.
    unsafe {
        libc::send(channel.as_raw_fd(), (&raw const note).cast(), size_of::<Note>(), flags);
    }
}

/// Receives without waiting; `peek`: the note stays for the next one who looks.
pub fn receive(channel: &OwnedFd, peek: bool) -> Received {
    let mut note = Ended { note: Note::default(), usage: [0; 18] };
    let mut control = ControlBuffer([0; 128]);
    let mut iovec = libc::iovec { iov_base: (&raw mut note).cast(), iov_len: size_of::<Ended>() };
    // SAFETY: all zero is a valid msghdr.
    let mut header: libc::msghdr = unsafe { core::mem::zeroed() };
    header.msg_iov = &mut iovec;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC | if peek { libc::MSG_PEEK } else { 0 };
    let received = loop {
        // SAFETY: the header and all it points to live in this frame.
        let received = unsafe { libc::recvmsg(channel.as_raw_fd(), &mut header, flags) };
        // An init that ended without having read our last note resets the connection: once, and what
        // it sent before is still there.
        let again = received < 0 && matches!(crate::sys::errno(), libc::EINTR | libc::ECONNRESET);
        if !again {
            break received;
        }
    };
    match received {
        0 => return Received::End,
        ..0 if crate::sys::errno() == libc::EAGAIN => return Received::Nothing,
        ..0 => return Received::End,
        _ => {}
    }
    let (mut sender, mut fd) = (0, None);
    // SAFETY: the kernel filled the header; the macros walk what it wrote.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&header);
        while let Some(head) = message.as_ref() {
            let data = libc::CMSG_DATA(head);
            match (head.cmsg_level, head.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
                    sender = data.cast::<libc::ucred>().read_unaligned().pid
                }
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    // One is expected; any other is closed at once.
                    let count = (head.cmsg_len - (data as usize - message as usize)) / 4;
                    for n in (0..count).rev() {
                        let raw = data.cast::<c_int>().add(n).read_unaligned();
                        fd = Some(OwnedFd::from_raw_fd(raw));
                    }
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(&header, head);
        }
    }
    Received::Note(note, sender, fd)
}
