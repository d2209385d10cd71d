//! What the host writes and opens for the child: id maps, time offsets, cgroups.

use core::ffi::{CStr, c_int};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use crate::error::{Error, Location, Result};
use crate::launch::Launch;
use crate::mem;
use crate::plan::host::{Host, kernel_is_at_least};
use crate::plan::order::Joining;
use crate::plan::{Shape, cgroup_fds, setgroups_allowed};
use crate::runner::{IdMap, Runner};
use crate::sys;

/// Writes /proc/PID/uid_map, setgroups, gid_map and timens_offsets for a waiting child.
pub fn write_maps(runner: &Runner, host: &Host, child: BorrowedFd) -> Result<()> {
    let process = ProcDirectory::of(child)?;
    let mut text = Lines::new();
    if !runner.time_offsets.is_empty() {
        for offset in &runner.time_offsets {
            text.add(format_args!("{} {} {}\n", offset.clock, offset.seconds, offset.nanoseconds))?;
        }
        process.write(Location::TimeOffsets, c"timens_offsets", text.take())?;
    }
    if !runner.makes(libc::CLONE_NEWUSER) {
        return Ok(());
    }
    if !runner.uid_map.is_empty() {
        text.add_map(&runner.uid_map)?;
        process.write(Location::UidMap, c"uid_map", text.take())?;
    }
    if !runner.gid_map.is_empty() {
        // Before the gid map, since it cannot be denied afterwards; and without CAP_SETGID the map is
        // refused until it is.
        if !setgroups_allowed(runner, host) {
            process.write(Location::SetgroupsFile, c"setgroups", b"deny")?;
        }
        text.add_map(&runner.gid_map)?;
        process.write(Location::GidMap, c"gid_map", text.take())?;
    }
    Ok(())
}

/// Lines of numbers.
struct Lines(Vec<u8>, usize);

impl Lines {
    fn new() -> Lines {
        Lines(Vec::new(), 0)
    }

    fn add(&mut self, line: core::fmt::Arguments) -> Result<()> {
        let mut buffer = [0u8; 80];
        mem::extend(&mut self.0, mem::format_into(&mut buffer, line))?;
        Ok(())
    }

    fn add_map(&mut self, map: &[IdMap]) -> Result<()> {
        map.iter().try_for_each(|range| {
            self.add(format_args!("{} {} {}\n", range.inside, range.outside, range.count))
        })
    }

    /// What was added since the last time.
    fn take(&mut self) -> &[u8] {
        let start = core::mem::replace(&mut self.1, self.0.len());
        self.0.get(start..).unwrap_or(&[])
    }
}

/// /proc/PID of a process that a pidfd names.
struct ProcDirectory([u8; 24], usize);

impl ProcDirectory {
    /// The pid that this /proc knows it by, which is not ours if /proc belongs to another pid
    /// namespace: the pidfd's own entry tells.
    fn of(process: BorrowedFd) -> Result<ProcDirectory> {
        let mut path = [0u8; 48];
        mem::format_into(&mut path, format_args!("/proc/self/fdinfo/{}\0", process.as_raw_fd()));
        let mut info = [0u8; 512];
        let failed = |errno| {
            Error::with_message(
                Location::Maps,
                errno,
                format_args!("/proc is needed to write id maps and time offsets"),
            )
        };
        let info = read_file(&path, &mut info).map_err(failed)?;
        let pid = info
            .split(|&byte| byte == b'\n')
            .find_map(|line| line.strip_prefix(b"Pid:\t"))
            .and_then(|digits| core::str::from_utf8(digits).ok())
            .and_then(|digits| digits.parse::<i32>().ok())
            .filter(|pid| *pid > 0)
            .ok_or(failed(libc::ESRCH))?;
        let mut directory = [0u8; 24];
        let len = mem::format_into(&mut directory, format_args!("/proc/{pid}/")).len();
        Ok(ProcDirectory(directory, len))
    }

    fn write(&self, location: Location, name: &CStr, text: &[u8]) -> Result<()> {
        let mut path = [0u8; 64];
        let (directory, rest) = path.split_at_mut(self.1);
        directory.copy_from_slice(&self.0[..self.1]);
        rest[..name.count_bytes()].copy_from_slice(name.to_bytes());
        let failed = |errno| Error::at(location, errno);
        // SAFETY: a path that ends with a zero byte.
        let file = sys::new_fd(unsafe {
            libc::open(path.as_ptr().cast(), libc::O_WRONLY | libc::O_CLOEXEC)
        })
        .map_err(failed)?;
        // SAFETY: bytes of ours.
        let written = unsafe { libc::write(file.as_raw_fd(), text.as_ptr().cast(), text.len()) };
        match written {
            -1 => Err(failed(sys::errno())),
            written if written as usize == text.len() => Ok(()),
            _ => Err(failed(libc::EIO)),
        }
    }
}

/// Reads a small file of /proc; the path must end with a zero byte.
fn read_file<'a>(path: &[u8], buffer: &'a mut [u8]) -> core::result::Result<&'a [u8], c_int> {
    // SAFETY: the caller's path.
    let file =
        sys::new_fd(unsafe { libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC) })?;
    // SAFETY: a buffer with its size.
    let len =
        sys::check(
            unsafe { libc::read(file.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) }
                as i64,
        )?;
    Ok(buffer.get(..len as usize).unwrap_or(&[]))
}

/// A cgroup that is joined by a file which has to be opened for it.
pub enum Cgroup {
    /// The program is cloned into this directory: borrowed from the caller.
    Directory(c_int),
    /// The program writes to this file.
    File(OwnedFd),
}

/// How a cgroup is joined, by its directory's file system; the number stands for the file to open.
pub fn how_to_join(directory: c_int, shape: Shape) -> Result<Joining> {
    // SAFETY: all zero is a valid statfs, and fstatfs fills it.
    let magic = unsafe {
        let mut statfs: libc::statfs = core::mem::zeroed();
        sys::check(libc::fstatfs(directory, &mut statfs))
            .map_err(|errno| Error::at(Location::CgroupOpen, errno))?;
        statfs.f_type
    };
    match magic {
        libc::CGROUP2_SUPER_MAGIC if shape == Shape::Init && can_clone_into_cgroup() => {
            Ok(Joining::Clone(directory))
        }
        libc::CGROUP2_SUPER_MAGIC | libc::CGROUP_SUPER_MAGIC => Ok(Joining::Write(directory)),
        _ => Err(Error::with_message(
            Location::CgroupOpen,
            libc::EINVAL,
            format_args!("cgroup_fd: not a cgroup's directory"),
        )),
    }
}

/// clone3(2) is there and not refused: called with nothing it says EINVAL.
fn can_clone_into_cgroup() -> bool {
    // SAFETY: a size of 0 is refused before anything is read.
    let refused = unsafe { libc::syscall(libc::SYS_clone3, core::ptr::null::<u8>(), 0usize) };
    kernel_is_at_least(5, 7) && refused == -1 && sys::errno() == libc::EINVAL
}

/// Opens the file by which each cgroup is joined. v1: `tasks`, which a single thread joins without
/// waiting for others; v2: cgroup.procs.
pub fn open_cgroups(runner: &Runner, launch: &Launch, shape: Shape) -> Result<Vec<Cgroup>> {
    let mut cgroups = Vec::new();
    for (index, directory) in cgroup_fds(runner, launch).iter().enumerate() {
        let cgroup = match how_to_join(*directory, shape).map_err(|error| error.index(index))? {
            Joining::Clone(directory) => Cgroup::Directory(directory),
            Joining::Write(directory) => {
                let open = |name: &CStr| {
                    // SAFETY: a NUL-terminated name.
                    sys::new_fd(unsafe {
                        libc::openat(directory, name.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC)
                    })
                };
                let file = open(c"tasks").or_else(|_| open(c"cgroup.procs"));
                Cgroup::File(
                    file.map_err(|errno| Error::at(Location::CgroupOpen, errno).index(index))?,
                )
            }
        };
        mem::push(&mut cgroups, cgroup)?;
    }
    Ok(cgroups)
}

/// The same, as the plan needs it.
pub fn joinings(cgroups: &[Cgroup]) -> Result<Vec<Joining>> {
    let mut joinings = Vec::new();
    for cgroup in cgroups {
        let joining = match cgroup {
            Cgroup::Directory(directory) => Joining::Clone(*directory),
            Cgroup::File(file) => Joining::Write(file.as_raw_fd()),
        };
        mem::push(&mut joinings, joining)?;
    }
    Ok(joinings)
}
