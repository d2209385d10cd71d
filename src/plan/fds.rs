//! Steps for descriptors: the map of the program's, and the embedded program's inheritance.

use core::ffi::c_int;

use super::builder::{Arg, Builder, Slot};
use super::cgroup_fds;
use crate::error::{Error, Location, Result};
use crate::launch::Launch;
use crate::mem;
use crate::runner::{FdMap, Runner};
use crate::sys;

/// The runner's map with the launch's on top.
pub fn merged(runner: &Runner, launch: &Launch) -> Result<Vec<FdMap>> {
    let mut replaced = Vec::new();
    for entry in &launch.fds {
        mem::push(&mut replaced, entry.child_fd)?;
    }
    replaced.sort_unstable();
    let mut map: Vec<FdMap> = Vec::new();
    for entry in &runner.fds {
        if replaced.binary_search(&entry.child_fd).is_err() {
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

/// Where what is still needed moves: out of the way of the program's numbers.
#[derive(Debug, Clone, Copy)]
pub struct Floor {
    /// From this number on.
    pub first: c_int,
    /// The table ends soon after the program's highest number, so this is a gap below it. In it may
    /// lie descriptors that nobody named; they have to be closed first, or there is no room.
    pub is_gap: bool,
}

/// How many descriptors a plan may need at once above the floor.
const ROOM: c_int = 64;

/// Above all of the program's numbers; or, where the table ends just there, the first wide gap between
/// the numbers that are named by anything.
pub fn floor(map: &[FdMap], others: impl Iterator<Item = c_int>) -> Result<Floor> {
    let above = map.iter().map(|entry| entry.child_fd + 1).max().unwrap_or(3).max(3);
    // SAFETY: all zero is a valid rlimit; getrlimit fills it.
    let limit = unsafe {
        let mut limit: libc::rlimit = core::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur
    };
    if (above + ROOM) as u64 <= limit {
        return Ok(Floor { first: above, is_gap: false });
    }
    let mut numbers = Vec::new();
    for number in map.iter().flat_map(|entry| [entry.fd, entry.child_fd]).chain(others) {
        mem::push(&mut numbers, number)?;
    }
    numbers.sort_unstable();
    let mut first = 3;
    for number in numbers {
        if number >= first + ROOM {
            return Ok(Floor { first, is_gap: true });
        }
        first = first.max(number + 1);
    }
    Ok(Floor { first: above, is_gap: false })
}

/// Makes room in a gap, in the child's own table.
pub fn clear_gap(builder: &mut Builder, floor: Floor) -> Result<()> {
    let last = floor.first + ROOM - 1;
    let args = [floor.first.into(), last.into(), 0.into()];
    builder.call(Location::CloseRange, libc::SYS_close_range, &args)?;
    Ok(())
}

/// An error unless every descriptor that a start is to use is open. Looked at before the start opens
/// any of its own: a number that the caller has closed must not become one of ours.
pub fn check_open(runner: &Runner, launch: &Launch) -> Result<()> {
    let open = |fd: c_int| fd < 0 || sys::is_open(fd);
    let refuse = |location, index: usize| Err(Error::at(location, libc::EBADF).index(index));
    let map = merged(runner, launch)?;
    if let Some(index) = map.iter().position(|entry| !open(entry.fd)) {
        return refuse(Location::FdMap, index);
    }
    if let Some(index) = runner.joined.iter().position(|joined| !open(joined.fd)) {
        return refuse(Location::JoinNamespace, index);
    }
    if let Some(index) = cgroup_fds(runner, launch).iter().position(|fd| !open(*fd)) {
        return refuse(Location::CgroupOpen, index);
    }
    if let Some(index) = launch.binds.iter().position(|bind| !open(bind.fd)) {
        return refuse(Location::MountSource, runner.mounts.len() + index);
    }
    for (fd, location) in
        [(super::exec_fd(runner, launch), Location::Exec), (runner.ctty, Location::Ctty)]
    {
        if !open(fd.unwrap_or(-1)) {
            return Err(Error::at(location, libc::EBADF));
        }
    }
    Ok(())
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
/// Any permutation is possible. A number may be written once nobody needs to read it any more: the
/// entries whose numbers nobody reads go first, and each of them may set another one free. What
/// remains are rings, of which one number each moves out of the way.
pub fn add_map(builder: &mut Builder, map: &[FdMap], null: Option<Slot>) -> Result<()> {
    builder.call(
        Location::CloseRange,
        libc::SYS_close_range,
        &[0.into(), u32::MAX.into(), libc::CLOSE_RANGE_CLOEXEC.into()],
    )?;
    // By the child's number: who writes it. By the host's number: how many have yet to read it.
    let size = map.iter().map(|entry| entry.fd.max(entry.child_fd) + 1).max().unwrap_or(0) as usize;
    let mut writer: Vec<Option<usize>> = Vec::new();
    let mut readers: Vec<u32> = Vec::new();
    writer.try_reserve_exact(size).map_err(|_| mem::OutOfMemory)?;
    readers.try_reserve_exact(size).map_err(|_| mem::OutOfMemory)?;
    writer.resize(size, None);
    readers.resize(size, 0);
    let moves = |entry: &FdMap| entry.fd >= 0 && entry.fd != entry.child_fd;
    for (index, entry) in map.iter().enumerate().filter(|(_, entry)| moves(entry)) {
        writer[entry.child_fd as usize] = Some(index);
        readers[entry.fd as usize] += 1;
    }
    for start in 0..map.len() {
        let mut next = writer.get(map[start].child_fd as usize).copied().flatten();
        while let Some(index) = next.filter(|index| readers[map[*index].child_fd as usize] == 0) {
            let entry = map[index];
            copy(builder, Arg::Fd(entry.fd, "fd"), entry.child_fd, index)?;
            writer[entry.child_fd as usize] = None;
            readers[entry.fd as usize] -= 1;
            // Its source may be a number that somebody waits to write.
            next = writer[entry.fd as usize];
        }
    }
    for start in 0..map.len() {
        let number = map[start].child_fd as usize;
        let Some(first) = writer.get(number).copied().flatten() else { continue };
        // In a ring each number is read once and written once. This one is read last, from a copy.
        let moved = move_up(builder, Location::FdMap, Arg::Fd(number as c_int, "fd"))?;
        let mut index = first;
        loop {
            let entry = map[index];
            let closes_the_ring = entry.fd as usize == number;
            let source = if closes_the_ring { moved.into() } else { Arg::Fd(entry.fd, "fd") };
            copy(builder, source, entry.child_fd, index)?;
            writer[entry.child_fd as usize] = None;
            match writer[entry.fd as usize] {
                Some(next) if !closes_the_ring => index = next,
                _ => break,
            }
        }
        builder.release(moved);
    }
    // What stays where it is was never overwritten: its number has no writer but itself.
    for (index, entry) in map.iter().enumerate().filter(|(_, entry)| entry.fd == entry.child_fd) {
        let args = [Arg::Fd(entry.fd, "fd"), libc::F_SETFD.into(), 0.into()];
        builder.call(Location::FdMap, libc::SYS_fcntl, &args)?.index(index);
    }
    if let Some(null) = null {
        for number in (0..3).filter(|number| !map.iter().any(|entry| entry.child_fd == *number)) {
            let args = [null.into(), number.into(), 0.into()];
            builder.call(Location::DevNull, libc::SYS_dup3, &args)?;
        }
    }
    Ok(())
}

fn copy(builder: &mut Builder, source: Arg, child_fd: c_int, index: usize) -> Result<()> {
    let args = [source, child_fd.into(), 0.into()];
    builder.call(Location::FdMap, libc::SYS_dup3, &args)?.index(index);
    Ok(())
}

/// Lets exactly these descriptors of the host through the exec of the embedded program. The flags
/// are those of the child's own table: the host's stay as they are.
pub fn add_inheritance(builder: &mut Builder, fds: &[(c_int, &'static str)]) -> Result<()> {
    builder.call(
        Location::InheritFds,
        libc::SYS_close_range,
        &[0.into(), u32::MAX.into(), libc::CLOSE_RANGE_CLOEXEC.into()],
    )?;
    for (fd, name) in fds {
        builder.call(
            Location::InheritFds,
            libc::SYS_fcntl,
            &[Arg::Fd(*fd, name), libc::F_SETFD.into(), 0.into()],
        )?;
    }
    Ok(())
}
