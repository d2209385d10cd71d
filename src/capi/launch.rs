//! `struct sbx_launch`: what one start changes; describe and start.

use core::ffi::{c_char, c_int, c_void};
use core::mem::offset_of;
use core::time::Duration;

use super::convert::{Buffer, not_null, optional_text, slice, text, texts};
use super::error::{report, sbx_error};
use super::handle;
use super::process::sbx_process;
use super::runner::sbx_runner;
use super::sized::{self, Growing};
use crate::error::{Error, Location, Result};
use crate::flags::SBX_INFINITE;
use crate::launch::{BINDS_MAX, Launch};
use crate::runner::valid::FDS_MAX;
use crate::{plan, start};

/// One entry of the fd map: `fd` of the host becomes `child_fd` of the program; -1: `child_fd` is
/// closed.
#[repr(C)]
pub struct sbx_fd_map {
    /// The host's descriptor, borrowed during the start, or -1.
    pub fd: c_int,
    /// Its number in the program, 0 to 1048576.
    pub child_fd: c_int,
}

/// An open file or directory of the host that appears inside the new root: this run's own files.
#[repr(C)]
pub struct sbx_launch_bind {
    /// The file or directory, borrowed during the start; O_PATH will do.
    pub fd: c_int,
    /// Where: as the target of sbx_add_bind.
    pub target: *const c_char,
    /// SBX_MOUNT_*, those of sbx_add_bind.
    pub flags: u32,
}

/// What one start changes about its runner. The caller owns it, and everything it points to;
/// nothing of it is kept after the call.
///
/// Begin with `struct sbx_launch launch = SBX_LAUNCH_INIT;`. The struct may grow: a `size` that
/// ends with one of the fields below means that the caller has no more (exec_fd and cgroup_fd are
/// -1 then, everything else 0); a larger one must be zero beyond them, or the call is -E2BIG; any
/// other is -EINVAL.
#[repr(C)]
pub struct sbx_launch {
    /// sizeof(struct sbx_launch).
    pub size: usize,
    /// Instead of sbx_set_args; NULL: the runner's.
    pub argv: *const *const c_char,
    /// Instead of sbx_set_env; NULL: the runner's.
    pub envp: *const *const c_char,
    /// Instead of the runner's path and descriptor; NULL: the runner's.
    pub exec_path: *const c_char,
    /// Instead of the runner's path and descriptor; -1: the runner's. Both here: -EINVAL.
    pub exec_fd: c_int,
    /// Instead of the runner's cgroups; -1: the runner's.
    pub cgroup_fd: c_int,
    /// On top of the runner's fd map; the same child_fd replaces the runner's entry.
    pub fds: *const sbx_fd_map,
    /// How many; at most 65536.
    pub n_fds: usize,
    /// After the runner's own entries of the root.
    pub binds: *const sbx_launch_bind,
    /// How many; at most 65536.
    pub n_binds: usize,
    /// What the sync function gets.
    pub sync_arg: *mut c_void,
    /// How long the setup may take, in nanoseconds, until the start ends with -ETIMEDOUT and
    /// leaves nothing behind; the sync function's time does not count. 0: 30 seconds. SBX_INFINITE:
    /// as long as it takes.
    pub setup_timeout_ns: u64,
}

// SAFETY: repr(C), size first, integers and pointers.
unsafe impl Growing for sbx_launch {
    const NAME: &'static str = "launch";
    const ENDS: &'static [usize] = &[
        offset_of!(sbx_launch, argv),
        offset_of!(sbx_launch, envp),
        offset_of!(sbx_launch, exec_path),
        offset_of!(sbx_launch, exec_fd),
        offset_of!(sbx_launch, cgroup_fd),
        offset_of!(sbx_launch, fds),
        offset_of!(sbx_launch, n_fds),
        offset_of!(sbx_launch, binds),
        offset_of!(sbx_launch, n_binds),
        offset_of!(sbx_launch, sync_arg),
        offset_of!(sbx_launch, setup_timeout_ns),
        size_of::<sbx_launch>(),
    ];

    fn absent() -> sbx_launch {
        sbx_launch {
            size: 0,
            argv: core::ptr::null(),
            envp: core::ptr::null(),
            exec_path: core::ptr::null(),
            exec_fd: -1,
            cgroup_fd: -1,
            fds: core::ptr::null(),
            n_fds: 0,
            binds: core::ptr::null(),
            n_binds: 0,
            sync_arg: core::ptr::null_mut(),
            setup_timeout_ns: 0,
        }
    }
}

/// The launch that a caller means.
unsafe fn read_launch(from: *const sbx_launch) -> Result<Launch> {
    let mut launch = Launch::default();
    if from.is_null() {
        return Ok(launch);
    }
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        let from = sized::read(from)?;
        if !from.argv.is_null() {
            launch.set_args(texts("args", from.argv)?)?;
        }
        if !from.envp.is_null() {
            launch.set_env(texts("env", from.envp)?)?;
        }
        if let Some(path) = optional_text(from.exec_path)? {
            launch.set_exec_path(path)?;
        }
        launch.set_exec_fd(from.exec_fd)?;
        launch.set_cgroup_fd(from.cgroup_fd)?;
        for entry in slice("fds", from.fds, from.n_fds, FDS_MAX)? {
            launch.map_fd(entry.fd, entry.child_fd)?;
        }
        for bind in slice("binds", from.binds, from.n_binds, BINDS_MAX)? {
            launch.add_bind(bind.fd, &text("binds", bind.target)?, bind.flags)?;
        }
        launch.sync_arg = from.sync_arg;
        match from.setup_timeout_ns {
            0 => {}
            SBX_INFINITE => launch.setup_timeout = None,
            ns => launch.setup_timeout = Some(Duration::from_nanos(ns)),
        }
    }
    Ok(launch)
}

/// Writes the ordered plan of a start as text, one step per line, and starts nothing: what the
/// child will do, in which order, in which shape of process tree. By snprintf(3)'s rule: at most
/// `size` bytes with the NUL, and the length of the whole text is returned; `buf` may be NULL with
/// a size of 0. `launch` may be NULL. Settings that do not go together are -EINVAL here as at the
/// start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_runner_describe(
    runner: *const sbx_runner,
    launch: *const sbx_launch,
    buf: *mut c_char,
    size: usize,
    error: *mut sbx_error,
) -> c_int {
    let describe = || {
        // SAFETY: the caller's pointers, by the contract in mod.rs.
        let (runner, launch) = unsafe { (handle::get(runner)?, read_launch(launch)?) };
        let mut buffer = unsafe { Buffer::new("buf", buf, size) }?;
        plan::describe(runner, &launch, &mut buffer)?;
        c_int::try_from(buffer.wanted()).map_err(|_| Error::at(Location::Argument, libc::EOVERFLOW))
    };
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { report(describe(), error) }
}

/// Starts the program: returns 0 when it has been executed (or has reached the stop that was asked
/// for), with `*out` as its process; sbx_process_free ends it. On failure the result is the
/// negative errno of the step that failed, `error` names it, `*out` is NULL, and nothing is left
/// behind: no process, descriptor, mount or memory.
///
/// May be called from any thread, from many at once with the same runner. `launch` may be NULL.
/// The calling thread's cancellation is off meanwhile, and its signals are blocked around the clone;
/// the host's state is not changed. Returns while the exec is past its point of no return: for some
/// microseconds more /proc may still show what was before. A child stuck in the kernel (a dead
/// network mount) that outlives its kill is left to die by itself, with the memory that it uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_start(
    runner: *const sbx_runner,
    launch: *const sbx_launch,
    out: *mut *mut sbx_process,
    error: *mut sbx_error,
) -> c_int {
    let start = || {
        not_null("out", out)?;
        // SAFETY: the caller's pointers, by the contract in mod.rs.
        unsafe { out.write(core::ptr::null_mut()) };
        let (runner, launch) = unsafe { (handle::get(runner)?, read_launch(launch)?) };
        // Before the start: a program that runs must not be killed for want of a few bytes.
        let room = handle::reserve()?;
        let process = start::start(runner, &launch)?;
        // SAFETY: the caller's pointers, by the contract in mod.rs.
        unsafe { out.write(room.fill(process)) };
        Ok(0)
    };
    unsafe { report(start(), error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ptr::null;

    fn read(from: &sbx_launch) -> Result<Launch> {
        // SAFETY: every pointer in these structs is NULL or points to what its type says.
        unsafe { read_launch(from) }
    }

    #[test]
    fn nothing_said() {
        // SAFETY: NULL is allowed.
        let launch = unsafe { read_launch(null()) }.unwrap();
        assert!(launch.args.is_none() && launch.setup_timeout == Some(Duration::from_secs(30)));
        let zeroed_up_to = |size| {
            let mut from = sbx_launch::absent();
            (from.size, from.exec_fd, from.cgroup_fd) = (size, 999_999, 999_999);
            read(&from)
        };
        let launch = zeroed_up_to(offset_of!(sbx_launch, exec_fd)).unwrap();
        assert!(launch.exec_fd.is_none() && launch.cgroup_fd.is_none());
        assert_eq!(
            zeroed_up_to(offset_of!(sbx_launch, cgroup_fd)).err().unwrap().errno,
            libc::EBADF
        );
        assert_eq!(zeroed_up_to(0).err().unwrap().errno, libc::EINVAL);
        assert_eq!(zeroed_up_to(20).err().unwrap().errno, libc::EINVAL);
    }

    #[test]
    fn everything_said() {
        let argv = [c"a".as_ptr(), null()];
        let fds = [sbx_fd_map { fd: 0, child_fd: 4 }];
        let binds = [sbx_launch_bind { fd: 0, target: c"/box".as_ptr(), flags: 1 }];
        let mut from = sbx_launch {
            size: size_of::<sbx_launch>(),
            argv: argv.as_ptr(),
            envp: argv.as_ptr(),
            exec_path: c"/p".as_ptr(),
            exec_fd: 1,
            cgroup_fd: 2,
            fds: fds.as_ptr(),
            n_fds: 1,
            binds: binds.as_ptr(),
            n_binds: 1,
            sync_arg: core::ptr::null_mut(),
            setup_timeout_ns: 5,
        };
        let launch = read(&from).unwrap();
        assert_eq!(launch.args.unwrap().len(), 1);
        assert_eq!(launch.env.unwrap().len(), 1);
        assert_eq!(launch.exec_path.unwrap().bytes(), b"/p");
        assert_eq!((launch.exec_fd, launch.cgroup_fd), (Some(1), Some(2)));
        assert_eq!((launch.fds.len(), launch.binds.len()), (1, 1));
        assert_eq!(launch.setup_timeout, Some(Duration::from_nanos(5)));

        from.setup_timeout_ns = SBX_INFINITE;
        assert_eq!(read(&from).unwrap().setup_timeout, None);
        from.n_fds = usize::MAX;
        assert_eq!(read(&from).err().unwrap().errno, libc::EINVAL);
        (from.n_fds, from.fds) = (1, null());
        assert_eq!(read(&from).err().unwrap().message.as_str(), "fds: NULL");
    }
}
