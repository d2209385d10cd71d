//! A launch: what one start changes about its runner.
//!
//! The same rules hold as for the runner's own settings, by the same functions.

use core::ffi::{c_int, c_void};
use core::time::Duration;

use crate::error::{Error, Result};
use crate::mem::{self, Text};
use crate::runner::{FdMap, program, valid};

/// How long a setup may take when the caller does not say.
const SETUP_TIMEOUT: Duration = Duration::from_secs(30);
/// The most binds of one launch.
pub const BINDS_MAX: usize = 1 << 16;

/// What one start changes about its runner.
pub struct Launch {
    /// argv instead of the runner's.
    pub args: Option<Vec<Text>>,
    /// The environment instead of the runner's.
    pub env: Option<Vec<Text>>,
    /// The program's path instead of the runner's.
    pub exec_path: Option<Text>,
    /// The program as an open file instead of the runner's.
    pub exec_fd: Option<c_int>,
    /// The cgroup to join instead of the runner's.
    pub cgroup_fd: Option<c_int>,
    /// On top of the runner's fd map: the same child_fd replaces.
    pub fds: Vec<FdMap>,
    /// After the runner's mounts.
    pub binds: Vec<LaunchBind>,
    /// The sync function's argument.
    pub sync_arg: *mut c_void,
    /// How long the setup may take; None: as long as it likes.
    pub setup_timeout: Option<Duration>,
}

/// An open file or directory of the host that appears inside the new root.
#[derive(Debug)]
pub struct LaunchBind {
    /// The file or directory, open in the host (O_PATH will do).
    pub fd: c_int,
    /// Where it appears: normalised, never "/".
    pub target: Text,
    /// SBX_MOUNT_* bits that apply to a bind, checked.
    pub flags: u32,
}

impl Default for Launch {
    fn default() -> Launch {
        Launch {
            args: None,
            env: None,
            exec_path: None,
            exec_fd: None,
            cgroup_fd: None,
            fds: Vec::new(),
            binds: Vec::new(),
            sync_arg: core::ptr::null_mut(),
            setup_timeout: Some(SETUP_TIMEOUT),
        }
    }
}

impl Launch {
    /// argv.
    pub fn set_args(&mut self, args: Vec<Text>) -> Result<()> {
        program::check_args(&args)?;
        self.args = Some(args);
        Ok(())
    }

    /// The environment.
    pub fn set_env(&mut self, env: Vec<Text>) -> Result<()> {
        valid::strings("env", &env)?;
        self.env = Some(env);
        Ok(())
    }

    /// The program's path.
    pub fn set_exec_path(&mut self, path: Text) -> Result<()> {
        valid::path("exec_path", &path)?;
        self.exec_path = Some(path);
        Ok(())
    }

    /// The program as an open file; -1: the runner's.
    pub fn set_exec_fd(&mut self, fd: c_int) -> Result<()> {
        self.exec_fd = valid::open_fd_or_none("exec_fd", fd)?;
        Ok(())
    }

    /// The cgroup to join; -1: the runner's.
    pub fn set_cgroup_fd(&mut self, fd: c_int) -> Result<()> {
        self.cgroup_fd = valid::open_fd_or_none("cgroup_fd", fd)?;
        Ok(())
    }

    /// Adds one entry to the fd map.
    pub fn map_fd(&mut self, fd: c_int, child_fd: c_int) -> Result<()> {
        let entry = FdMap { fd, child_fd };
        program::check_fd(&self.fds, entry).map_err(|error| error.index(self.fds.len()))?;
        Ok(mem::push(&mut self.fds, entry)?)
    }

    /// Adds a bind.
    pub fn add_bind(&mut self, fd: c_int, target: &Text, flags: u32) -> Result<()> {
        let bind =
            self.check_bind(fd, target, flags).map_err(|error| error.index(self.binds.len()))?;
        Ok(mem::push(&mut self.binds, bind)?)
    }

    fn check_bind(&self, fd: c_int, target: &Text, flags: u32) -> Result<LaunchBind> {
        valid::bits("binds", flags.into(), crate::runner::mounts::BIND.into())?;
        valid::open_fd("binds", fd)?;
        let target = valid::target("binds", target)?;
        if self.binds.iter().any(|other| other.target == target) {
            return Err(Error::invalid(format_args!("binds: another entry has the same target")));
        }
        if self.binds.len() >= BINDS_MAX {
            return Err(Error::invalid(format_args!("binds: more than {BINDS_MAX} entries")));
        }
        Ok(LaunchBind { fd, target, flags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{SBX_MOUNT_DEVPTS, SBX_MOUNT_WRITABLE};
    use crate::runner::valid::tests::{refused, text};

    #[test]
    fn the_same_rules_as_for_a_runner() {
        let mut launch = Launch::default();
        assert_eq!(launch.setup_timeout, Some(Duration::from_secs(30)));
        refused(launch.set_args(vec![]), libc::EINVAL, "args");
        refused(launch.set_exec_path(text("")), libc::EINVAL, "exec_path");
        refused(launch.set_exec_fd(999_999), libc::EBADF, "exec_fd");
        refused(launch.set_cgroup_fd(-2), libc::EINVAL, "cgroup_fd");
        launch.map_fd(0, 3).unwrap();
        assert_eq!(refused(launch.map_fd(1, 3), libc::EINVAL, "fds").index, 1);
        assert_eq!(refused(launch.map_fd(999_999, 4), libc::EBADF, "fds").index, 1);
        assert_eq!(launch.fds.len(), 1);
    }

    #[test]
    fn binds() {
        let mut launch = Launch::default();
        launch.add_bind(0, &text("/box//"), SBX_MOUNT_WRITABLE).unwrap();
        assert_eq!(refused(launch.add_bind(1, &text("/box"), 0), libc::EINVAL, "binds").index, 1);
        refused(launch.add_bind(-1, &text("/a"), 0), libc::EINVAL, "binds");
        refused(launch.add_bind(999_999, &text("/a"), 0), libc::EBADF, "binds");
        refused(launch.add_bind(0, &text("/"), 0), libc::EINVAL, "binds");
        refused(launch.add_bind(0, &text("/a/.."), 0), libc::EINVAL, "binds");
        refused(launch.add_bind(0, &text("/a"), SBX_MOUNT_DEVPTS), libc::EINVAL, "binds");
        assert_eq!(launch.binds.len(), 1);
    }
}
