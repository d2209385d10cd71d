//! Setters: which program, with what in its hands. execve(2), chdir(2), the fd map, the terminal.

use core::ffi::c_int;

use super::{FdMap, Runner, valid};
use crate::error::{Error, Result};
use crate::mem::{self, Text};

/// argv: at least argv[0], which is not empty. Its total size is the kernel's business (E2BIG).
pub fn check_args(args: &[Text]) -> Result<()> {
    valid::strings("args", args)?;
    match args.first() {
        None => Err(Error::invalid(format_args!("args: argv[0] is missing"))),
        Some(name) if name.bytes().is_empty() => {
            Err(Error::invalid(format_args!("args: argv[0] is empty")))
        }
        Some(_) => Ok(()),
    }
}

/// One entry of an fd map, beside those that are there.
pub fn check_fd(map: &[FdMap], entry: FdMap) -> Result<()> {
    valid::child_fd("fds", entry.child_fd)?;
    valid::open_fd_or_none("fds", entry.fd)?;
    if map.iter().any(|other| other.child_fd == entry.child_fd) {
        return Err(Error::invalid(format_args!(
            "fds: child_fd {} is mapped twice",
            entry.child_fd
        )));
    }
    if map.len() >= valid::FDS_MAX {
        return Err(Error::invalid(format_args!("fds: more than {} entries", valid::FDS_MAX)));
    }
    Ok(())
}

impl Runner {
    /// argv.
    pub fn set_args(&mut self, args: Vec<Text>) -> Result<()> {
        check_args(&args)?;
        self.args = args;
        Ok(())
    }

    /// The environment; entries without "=" are the program's business.
    pub fn set_env(&mut self, env: Vec<Text>) -> Result<()> {
        valid::strings("env", &env)?;
        self.env = env;
        Ok(())
    }

    /// The program's path; None: argv[0]. It may be relative: to the work directory, as in
    /// execve(2).
    pub fn set_exec_path(&mut self, path: Option<Text>) -> Result<()> {
        if let Some(path) = &path {
            valid::path("exec_path", path)?;
        }
        self.exec_path = path;
        Ok(())
    }

    /// The program as an open file; -1: none.
    pub fn set_exec_fd(&mut self, fd: c_int) -> Result<()> {
        self.exec_fd = valid::open_fd_or_none("exec_fd", fd)?;
        Ok(())
    }

    /// Where the program starts, inside the new root.
    pub fn set_workdir(&mut self, path: Option<Text>) -> Result<()> {
        self.workdir = match path {
            Some(path) => Some(valid::inside("workdir", &path)?),
            None => None,
        };
        Ok(())
    }

    /// Replaces the fd map: the index is the number in the child, -1 is closed there.
    pub fn set_fds(&mut self, fds: &[c_int]) -> Result<()> {
        if fds.len() > valid::FDS_MAX {
            return Err(Error::invalid(format_args!("fds: more than {} entries", valid::FDS_MAX)));
        }
        let mut map = Vec::new();
        for (child_fd, &fd) in (0..).zip(fds) {
            valid::open_fd_or_none("fds", fd).map_err(|error| error.index(map.len()))?;
            mem::push(&mut map, FdMap { fd, child_fd })?;
        }
        self.fds = map;
        Ok(())
    }

    /// Adds one entry to the fd map; -1 as `fd` keeps `child_fd` closed.
    pub fn map_fd(&mut self, fd: c_int, child_fd: c_int) -> Result<()> {
        let entry = FdMap { fd, child_fd };
        check_fd(&self.fds, entry)?;
        Ok(mem::push(&mut self.fds, entry)?)
    }

    /// The controlling terminal, as a descriptor of the host; -1: none.
    pub fn set_ctty(&mut self, fd: c_int) -> Result<()> {
        self.ctty = valid::open_fd_or_none("ctty", fd)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::valid::tests::{refused, text};
    use super::*;

    #[test]
    fn args_need_a_first() {
        let mut runner = Runner::default();
        runner.set_args(vec![text("a"), text("")]).unwrap();
        refused(runner.set_args(vec![]), libc::EINVAL, "args");
        refused(runner.set_args(vec![text(""), text("b")]), libc::EINVAL, "args");
        assert_eq!(runner.args, [text("a"), text("")]);
        runner.set_env(vec![text("A=1")]).unwrap();
        runner.set_env(vec![]).unwrap();
        assert!(runner.env.is_empty());
    }

    #[test]
    fn program_and_directory() {
        let mut runner = Runner::default();
        runner.set_exec_path(Some(text("./a.out"))).unwrap();
        refused(runner.set_exec_path(Some(text(""))), libc::EINVAL, "exec_path");
        assert_eq!(runner.exec_path, Some(text("./a.out")));
        runner.set_exec_path(None).unwrap();
        assert_eq!(runner.exec_path, None);
        runner.set_exec_fd(0).unwrap();
        refused(runner.set_exec_fd(-2), libc::EINVAL, "exec_fd");
        refused(runner.set_exec_fd(999_999), libc::EBADF, "exec_fd");
        assert_eq!(runner.exec_fd, Some(0));
        runner.set_workdir(Some(text("//w/"))).unwrap();
        refused(runner.set_workdir(Some(text("w"))), libc::EINVAL, "workdir");
        refused(runner.set_workdir(Some(text("/w/.."))), libc::EINVAL, "workdir");
        assert_eq!(runner.workdir, Some(text("/w")));
        refused(runner.set_ctty(999_999), libc::EBADF, "ctty");
    }

    #[test]
    fn fd_map() {
        let mut runner = Runner::default();
        runner.map_fd(0, 5).unwrap();
        runner.map_fd(-1, 6).unwrap();
        refused(runner.map_fd(1, 5), libc::EINVAL, "fds");
        refused(runner.map_fd(-2, 7), libc::EINVAL, "fds");
        refused(runner.map_fd(0, -1), libc::EINVAL, "fds");
        refused(runner.map_fd(999_999, 7), libc::EBADF, "fds");
        assert_eq!(runner.fds, [FdMap { fd: 0, child_fd: 5 }, FdMap { fd: -1, child_fd: 6 }]);

        let error = refused(runner.set_fds(&[0, -1, 999_999]), libc::EBADF, "fds");
        assert_eq!(error.index, 2);
        assert_eq!(runner.fds.len(), 2);
        refused(runner.set_fds(&vec![-1; valid::FDS_MAX + 1]), libc::EINVAL, "fds");
        runner.set_fds(&[0, -1, 0]).unwrap();
        assert_eq!(runner.fd_for(1), Some(FdMap { fd: -1, child_fd: 1 }));
        assert_eq!(runner.fd_for(2), Some(FdMap { fd: 0, child_fd: 2 }));
        runner.set_fds(&[]).unwrap();
        assert!(runner.fds.is_empty());
    }
}
