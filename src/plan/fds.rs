//! Steps for descriptors: the map of the program's, and the embedded program's inheritance.

use core::ffi::c_int;

use super::builder::{Arg, Builder, Slot};
use crate::error::{Location, Result};
use crate::launch::Launch;
use crate::mem;
use crate::runner::{FdMap, Runner};

/// Where a descriptor of the program comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The host's.
    Host(c_int),
    /// A copy that was moved out of the way; a slot.
    Moved(Slot),
}

/// One descriptor of the program.
#[derive(Debug, Clone, Copy)]
struct Entry {
    source: Source,
    child_fd: c_int,
    index: usize,
}

/// The runner's map with the launch's on top.
pub fn merged(runner: &Runner, launch: &Launch) -> Result<Vec<FdMap>> {
    let mut map: Vec<FdMap> = Vec::new();
    for entry in &runner.fds {
        if !launch.fds.iter().any(|other| other.child_fd == entry.child_fd) {
            mem::push(&mut map, *entry)?;
        }
    }
    mem::extend(&mut map, &launch.fds)?;
    Ok(map)
}

/// True if one of the standard streams is neither mapped nor asked to be closed.
pub fn needs_dev_null(map: &[FdMap]) -> bool {
    (0..3).any(|number| !map.iter().any(|entry| entry.child_fd == number))
}

/// A number above every descriptor of the program.
pub fn floor(map: &[FdMap]) -> c_int {
    map.iter().map(|entry| entry.child_fd + 1).max().unwrap_or(3).max(3)
}

/// Opens /dev/null while the host's root is still there, above every number the program uses: the
/// lowest free one may be one of them.
pub fn open_dev_null(builder: &mut Builder) -> Result<Slot> {
    let path = builder.cstr(c"/dev/null")?;
    let opened = builder.slot()?;
    builder
        .call(
            Location::DevNull,
            libc::SYS_openat,
            &[libc::AT_FDCWD.into(), path, (libc::O_RDWR | libc::O_CLOEXEC).into(), 0.into()],
        )?
        .out(opened);
    let null = move_up(builder, Location::DevNull, opened.into())?;
    builder.close(Location::DevNull, opened)?;
    Ok(null)
}

/// A copy of a descriptor above every number the program uses.
pub fn move_up(builder: &mut Builder, location: Location, fd: Arg) -> Result<Slot> {
    let moved = builder.slot()?;
    let floor = builder.header.floor;
    builder
        .call(location, libc::SYS_fcntl, &[fd, libc::F_DUPFD_CLOEXEC.into(), floor.into()])?
        .out(moved);
    Ok(moved)
}

/// Gives the program its descriptors; everything else is closed by its exec.
///
/// Any permutation is possible: a source that another entry's number would overwrite is used first,
/// and where they form a ring, one of them moves out of the way.
pub fn add_map(builder: &mut Builder, map: &[FdMap], null: Option<Slot>) -> Result<()> {
    builder.call(
        Location::CloseRange,
        libc::SYS_close_range,
        &[0.into(), u32::MAX.into(), libc::CLOSE_RANGE_CLOEXEC.into()],
    )?;
    let mut waiting: Vec<Entry> = Vec::new();
    for (index, entry) in map.iter().enumerate().filter(|(_, entry)| entry.fd >= 0) {
        mem::push(
            &mut waiting,
            Entry { source: Source::Host(entry.fd), child_fd: entry.child_fd, index },
        )?;
    }
    while !waiting.is_empty() {
        let needed = |number: c_int, but: usize| {
            waiting
                .iter()
                .enumerate()
                .any(|(n, entry)| n != but && entry.source == Source::Host(number))
        };
        if let Some(n) = (0..waiting.len()).find(|n| !needed(waiting[*n].child_fd, *n)) {
            let entry = waiting.swap_remove(n);
            place(builder, entry)?;
            if let Source::Moved(slot) = entry.source
                && !waiting.iter().any(|other| other.source == entry.source)
            {
                builder.release(slot);
            }
            continue;
        }
        // A ring: every number that is to be written is still to be read.
        let number = waiting[0].child_fd;
        let moved = move_up(builder, Location::FdMap, Arg::Fd(number, "fd"))?;
        for entry in waiting.iter_mut().filter(|entry| entry.source == Source::Host(number)) {
            entry.source = Source::Moved(moved);
        }
    }
    if let Some(null) = null {
        for number in (0..3).filter(|number| !map.iter().any(|entry| entry.child_fd == *number)) {
            builder.call(
                Location::DevNull,
                libc::SYS_dup3,
                &[null.into(), number.into(), 0.into()],
            )?;
        }
    }
    Ok(())
}

fn place(builder: &mut Builder, entry: Entry) -> Result<()> {
    let added = match entry.source {
        Source::Host(fd) if fd == entry.child_fd => builder.call(
            Location::FdMap,
            libc::SYS_fcntl,
            &[Arg::Fd(fd, "fd"), libc::F_SETFD.into(), 0.into()],
        )?,
        Source::Host(fd) => builder.call(
            Location::FdMap,
            libc::SYS_dup3,
            &[Arg::Fd(fd, "fd"), entry.child_fd.into(), 0.into()],
        )?,
        Source::Moved(slot) => builder.call(
            Location::FdMap,
            libc::SYS_dup3,
            &[slot.into(), entry.child_fd.into(), 0.into()],
        )?,
    };
    added.index(entry.index);
    Ok(())
}

/// Lets exactly these descriptors of the host through the exec of the embedded program. The flags
/// are those of the child's own table: the host's stay as they are.
pub fn add_inheritance(builder: &mut Builder, fds: &[Arg]) -> Result<()> {
    builder.call(
        Location::InheritFds,
        libc::SYS_close_range,
        &[0.into(), u32::MAX.into(), libc::CLOSE_RANGE_CLOEXEC.into()],
    )?;
    for fd in fds {
        builder.call(
            Location::InheritFds,
            libc::SYS_fcntl,
            &[*fd, libc::F_SETFD.into(), 0.into()],
        )?;
    }
    Ok(())
}
