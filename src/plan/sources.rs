//! Steps that open what is mounted: copies of mounts of the host, detached until their target is ready.

use core::ffi::{CStr, c_int};
use std::os::fd::AsRawFd;

use super::builder::{Arg, Builder, Slot};
use super::root::{AT_RECURSIVE, OPEN_TREE_CLONE};
use crate::child::plan::op;
use crate::error::{Error, Location, Result};
use crate::mem::{self, Text};
use crate::sys;

/// An opened source: a detached copy of a mount.
#[derive(Clone, Copy)]
pub struct Source {
    /// The copy.
    pub tree: Slot,
    /// What its target has to be; None: the child finds out.
    pub is_directory: Option<bool>,
}

/// OPEN_TREE_CLONE and what goes with it.
pub fn tree_flags(recursive: bool, more: c_int) -> Arg {
    let clone = OPEN_TREE_CLONE | libc::O_CLOEXEC as u64 | more as u64;
    (clone | if recursive { AT_RECURSIVE } else { 0 }).into()
}

/// What is known of a path without waiting for anybody.
#[derive(Clone, Copy)]
pub struct Look {
    /// A directory or not; None: not known, or nothing is there.
    pub is_directory: Option<bool>,
    /// Device and inode.
    id: (u64, u64),
}

/// How long a look at a path may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: only what the kernel has at hand (RESOLVE_CACHED, AT_STATX_DONT_SYNC). A dead network
    /// mount would hold up the host's own thread, which no timeout can help; the child finds out.
    None,
    /// As long as it takes: a description is the same each time.
    Endless,
}

/// Looks.
pub fn look(path: &CStr, patience: Patience) -> Look {
    const RESOLVE_CACHED: u64 = 0x20;
    /// A look without locks fails also when anybody mounts or renames something meanwhile.
    const TRIES: usize = 64;
    let resolve = if patience == Patience::None { RESOLVE_CACHED } else { 0 };
    let how = [(libc::O_PATH | libc::O_CLOEXEC) as u64, 0, resolve];
    for _ in 0..TRIES {
        // SAFETY: a C string, and a struct open_how with its size.
        let opened = sys::new_fd(unsafe {
            libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), &raw const how, 24usize)
        });
        match opened {
            Ok(fd) => return look_at(fd.as_raw_fd()).unwrap_or(Look::NOTHING),
            Err(libc::EAGAIN) => {}
            Err(_) => break,
        }
    }
    Look::NOTHING
}

/// Looks at an open descriptor in the same way.
fn look_at(fd: c_int) -> Option<Look> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: all zero is a valid statx; an empty C string, and a place for the answer.
    unsafe {
        let mut found: libc::statx = core::mem::zeroed();
        let mask = libc::STATX_TYPE | libc::STATX_INO;
        if libc::statx(fd, c"".as_ptr(), flags, mask, &mut found) != 0 {
            return None;
        }
        let device = libc::makedev(found.stx_dev_major, found.stx_dev_minor);
        let kind = u32::from(found.stx_mode) & libc::S_IFMT;
        Some(Look { is_directory: Some(kind == libc::S_IFDIR), id: (device, found.stx_ino) })
    }
}

impl Look {
    /// Nothing.
    pub const NOTHING: Look = Look { is_directory: None, id: (0, 0) };

    /// True if both lead to the same.
    pub fn is_same(&self, other: &Look) -> bool {
        self.is_directory.is_some() && self.id == other.id
    }
}

/// A file or directory of the host by its name.
pub fn open_path(
    builder: &mut Builder,
    path: &Text,
    look: Look,
    recursive: bool,
) -> Result<Source> {
    let name = builder.text(path.bytes())?;
    let tree = builder.slot()?;
    let args = [libc::AT_FDCWD.into(), name, tree_flags(recursive, 0)];
    builder.call(Location::MountSource, libc::SYS_open_tree, &args)?.out(tree);
    // What the source is decides what its target has to be. Should it change until then, the mount
    // fails: a file never covers a directory. A missing one is the child's to report.
    Ok(Source { tree, is_directory: look.is_directory })
}

/// What an open descriptor of the host stands for. A mount can only be copied from the mount
/// namespace it is in, and the descriptor's is the host's: so its name is opened anew in here, and
/// must lead to the same inode.
pub fn open_descriptor(builder: &mut Builder, fd: c_int, recursive: bool) -> Result<Source> {
    let mut link = [0u8; 32];
    mem::format_into(&mut link, format_args!("/proc/self/fd/{fd}\0"));
    let mut name = [0u8; libc::PATH_MAX as usize];
    // SAFETY: a path that ends with a zero byte, and a buffer with its size.
    let len = unsafe { libc::readlink(link.as_ptr().cast(), name.as_mut_ptr().cast(), name.len()) };
    let name = name.get(..len.max(0) as usize).filter(|name| name.starts_with(b"/"));
    let (Some(name), Some(expected)) = (name, look_at(fd)) else {
        return Err(Error::invalid(format_args!(
            "binds: descriptor {fd} has no name to mount it by"
        )));
    };
    let location = Location::MountSource;
    let name = builder.text(name)?;
    let opened = builder.slot()?;
    let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    let args = [libc::AT_FDCWD.into(), name, flags.into(), 0.into()];
    builder.call(location, libc::SYS_openat, &args)?.out(opened);
    // struct stat begins with device and inode: 16 bytes on every 64-bit Linux.
    const {
        assert!(core::mem::offset_of!(libc::stat, st_dev) == 0);
        assert!(core::mem::offset_of!(libc::stat, st_ino) == 8);
    }
    let expected_id = Arg::Data(builder.words(&[expected.id.0, expected.id.1])?);
    let found = Arg::Data(builder.words(&[0; size_of::<libc::stat>() / 8])?);
    builder.call(location, libc::SYS_fstat, &[opened.into(), found])?;
    builder
        .add(op::COMPARE, location, 0, &[found, expected_id, 16.into()])?
        .expect(0, libc::ESTALE);

    let tree = builder.slot()?;
    let empty = builder.cstr(c"")?;
    let args = [opened.into(), empty, tree_flags(recursive, libc::AT_EMPTY_PATH)];
    builder.call(location, libc::SYS_open_tree, &args)?.out(tree);
    builder.close(location, opened)?;
    Ok(Source { tree, is_directory: expected.is_directory })
}
