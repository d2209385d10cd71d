//! Setters: the new root and what is put into it. pivot_root(2), chroot(2), mount(2).

use super::{Mount, MountKind, Root, RootKind, Runner, raw_mount, valid};
use crate::error::{Error, Result};
use crate::flags::{
    SBX_MOUNT_DEV, SBX_MOUNT_DEVPTS, SBX_MOUNT_HIDEPID, SBX_MOUNT_NOEXEC, SBX_MOUNT_NONRECURSIVE,
    SBX_MOUNT_OPTIONAL, SBX_MOUNT_SUID, SBX_MOUNT_WRITABLE, SBX_ROOT_WRITABLE,
};
use crate::mem::{self, Text};

/// The most entries a root can have.
const MOUNTS_MAX: usize = 1 << 16;
/// The most bytes a file's contents can have: they travel with the plan.
pub const FILE_MAX: usize = 1 << 30;
/// The most lower directories of an overlay.
const LOWER_MAX: usize = 64;
/// mount(2) copies one page of options, and cuts what is longer without a word.
const DATA_MAX: usize = 4095;
/// The words around the paths of an overlay.
const OVERLAY_WORDS: &str = "lowerdir=upperdir=workdir=";
/// A file system type's name; the kernel's own are far shorter.
const FSTYPE_MAX: usize = 255;
/// What tmpfs can count to: more wraps around to "unlimited" in the kernel's own arithmetic.
const TMPFS_BYTES_MAX: u64 = i64::MAX as u64;
/// Likewise for inodes (ULONG_MAX / BOGO_INODE_SIZE).
const TMPFS_INODES_MAX: u64 = u64::MAX / 1024;

/// What a bind or a file system with contents of its own can be told.
const CONTENT: u32 =
    SBX_MOUNT_WRITABLE | SBX_MOUNT_OPTIONAL | SBX_MOUNT_NOEXEC | SBX_MOUNT_SUID | SBX_MOUNT_DEV;
/// What a bind can be told.
pub const BIND: u32 = CONTENT | SBX_MOUNT_NONRECURSIVE;

/// The length of a path among overlayfs's options: separators in it are escaped, one follows it.
fn option_length(path: &Text) -> usize {
    let separators = path.bytes().iter().filter(|&byte| b":,\\".contains(byte));
    path.bytes().len() + separators.count() + 1
}

impl Runner {
    /// Adds an entry whose target nothing else but raw mounts may have.
    fn add(&mut self, name: &str, target: &Text, flags: u32, kind: MountKind) -> Result<()> {
        let target = valid::target(name, target)?;
        let taken =
            |other: &Mount| other.target == target && !matches!(other.kind, MountKind::Raw { .. });
        if self.mounts.iter().any(taken) {
            return Err(Error::invalid(format_args!("{name}: another entry has the same target")));
        }
        self.push_mount(name, Mount { target, flags, kind })
    }

    fn push_mount(&mut self, name: &str, mount: Mount) -> Result<()> {
        if self.mounts.len() >= MOUNTS_MAX {
            return Err(Error::invalid(format_args!("{name}: more than {MOUNTS_MAX} entries")));
        }
        Ok(mem::push(&mut self.mounts, mount)?)
    }

    fn set_root(&mut self, name: &str, root: Root) -> Result<()> {
        if let Some(path) = &root.path {
            valid::absolute(name, path)?;
        }
        if self.root.as_ref().is_some_and(|former| former.kind != root.kind) {
            return Err(Error::invalid(format_args!(
                "{name}: pivot_root and chroot exclude each other"
            )));
        }
        self.root = Some(root);
        Ok(())
    }

    /// pivot_root into an existing tree, or into a fresh tmpfs.
    pub fn set_pivot_root(&mut self, path: Option<Text>, flags: u32) -> Result<()> {
        valid::bits("pivot_root", flags.into(), SBX_ROOT_WRITABLE.into())?;
        let writable = flags & SBX_ROOT_WRITABLE != 0;
        self.set_root("pivot_root", Root { kind: RootKind::Pivot, path, writable })
    }

    /// chroot into a prepared tree, which stays as it is, or into a fresh tmpfs, which is sealed.
    pub fn set_chroot(&mut self, path: Option<Text>) -> Result<()> {
        let writable = path.is_some();
        self.set_root("chroot", Root { kind: RootKind::Chroot, path, writable })
    }

    /// mount(2) as the caller says.
    pub fn add_mount(
        &mut self,
        source: Option<Text>,
        target: &Text,
        fstype: Option<Text>,
        ms_flags: u64,
        data: Option<Text>,
        flags: u32,
    ) -> Result<()> {
        valid::bits("mount", flags.into(), SBX_MOUNT_OPTIONAL.into())?;
        if let Some(source) = &source {
            valid::word("mount", source, DATA_MAX)?;
        }
        if let Some(fstype) = &fstype {
            valid::word("mount", fstype, FSTYPE_MAX)?;
        }
        if data.as_ref().is_some_and(|data| data.bytes().len() > DATA_MAX) {
            return Err(Error::invalid(format_args!(
                "mount: data is longer than {DATA_MAX} bytes"
            )));
        }
        raw_mount::check(&source, &fstype, ms_flags)?;
        let target = valid::target("mount", target)?;
        let kind = MountKind::Raw { source, fstype, flags: ms_flags, data };
        self.push_mount("mount", Mount { target, flags, kind })
    }

    /// A file or directory of the host.
    pub fn add_bind(&mut self, source: Text, target: &Text, flags: u32) -> Result<()> {
        valid::bits("bind", flags.into(), BIND.into())?;
        valid::absolute("bind", &source)?;
        self.add("bind", target, flags, MountKind::Bind { source })
    }

    /// tmpfs; always writable.
    pub fn add_tmpfs(
        &mut self,
        target: &Text,
        bytes: u64,
        inodes: u64,
        mode: u32,
        flags: u32,
    ) -> Result<()> {
        valid::bits("tmpfs", flags.into(), CONTENT.into())?;
        valid::mode("tmpfs", mode)?;
        if bytes > TMPFS_BYTES_MAX || inodes > TMPFS_INODES_MAX {
            return Err(Error::invalid(format_args!(
                "tmpfs: the limit is more than tmpfs can count"
            )));
        }
        self.add("tmpfs", target, flags, MountKind::Tmpfs { bytes, inodes, mode })
    }

    /// procfs of the sandbox's pid namespace.
    pub fn add_proc(&mut self, target: &Text, flags: u32) -> Result<()> {
        let known = SBX_MOUNT_WRITABLE | SBX_MOUNT_OPTIONAL | SBX_MOUNT_HIDEPID;
        valid::bits("proc", flags.into(), known.into())?;
        self.add("proc", target, flags, MountKind::Proc)
    }

    /// A minimal /dev.
    pub fn add_dev(&mut self, target: &Text, flags: u32) -> Result<()> {
        let known = SBX_MOUNT_WRITABLE | SBX_MOUNT_OPTIONAL | SBX_MOUNT_DEVPTS;
        valid::bits("dev", flags.into(), known.into())?;
        self.add("dev", target, flags, MountKind::Dev)
    }

    /// overlayfs: over an upper directory, or read-only over at least two lower ones.
    pub fn add_overlay(
        &mut self,
        lower: Vec<Text>,
        upper: Option<Text>,
        work: Option<Text>,
        target: &Text,
        flags: u32,
    ) -> Result<()> {
        valid::bits("overlay", flags.into(), CONTENT.into())?;
        let upper = match (upper, work) {
            (Some(upper), Some(work)) => Some((upper, work)),
            (None, None) => None,
            _ => return Err(Error::invalid(format_args!("overlay: upper and work go together"))),
        };
        if upper.is_none() && flags & SBX_MOUNT_WRITABLE != 0 {
            return Err(Error::invalid(format_args!("overlay: writable needs an upper directory")));
        }
        let least = if upper.is_some() { 1 } else { 2 };
        if !(least..=LOWER_MAX).contains(&lower.len()) {
            return Err(Error::invalid(format_args!(
                "overlay: {} lower directories are not between {least} and {LOWER_MAX}",
                lower.len()
            )));
        }
        for (at, path) in lower.iter().enumerate() {
            valid::absolute("overlay", path).map_err(|error| error.index(at))?;
        }
        if let Some((upper, work)) = &upper {
            valid::absolute("overlay", upper)?;
            valid::absolute("overlay", work)?;
        }
        let uppers = upper.iter().flat_map(|(upper, work)| [upper, work]);
        let length: usize = lower.iter().chain(uppers).map(option_length).sum();
        if length + OVERLAY_WORDS.len() > DATA_MAX {
            return Err(Error::invalid(format_args!(
                "overlay: the paths together are longer than {DATA_MAX} bytes"
            )));
        }
        self.add("overlay", target, flags, MountKind::Overlay { lower, upper })
    }

    /// A symbolic link; its text is not looked at.
    pub fn add_symlink(&mut self, text: Text, target: &Text, flags: u32) -> Result<()> {
        valid::bits("symlink", flags.into(), SBX_MOUNT_OPTIONAL.into())?;
        valid::path("symlink", &text)?;
        self.add("symlink", target, flags, MountKind::Symlink { text })
    }

    /// A file with contents.
    pub fn add_file(&mut self, target: &Text, data: &[u8], mode: u32, flags: u32) -> Result<()> {
        valid::bits("file", flags.into(), SBX_MOUNT_OPTIONAL.into())?;
        valid::plain_mode("file", mode)?;
        if data.len() > FILE_MAX {
            return Err(Error::invalid(format_args!("file: more than {FILE_MAX} bytes")));
        }
        self.add("file", target, flags, MountKind::File { data: mem::copy(data)?, mode })
    }

    /// An empty directory.
    pub fn add_dir(&mut self, target: &Text, mode: u32, flags: u32) -> Result<()> {
        valid::bits("dir", flags.into(), SBX_MOUNT_OPTIONAL.into())?;
        valid::plain_mode("dir", mode)?;
        self.add("dir", target, flags, MountKind::Dir { mode })
    }

    /// Hides a file or directory.
    pub fn add_mask(&mut self, target: &Text, flags: u32) -> Result<()> {
        valid::bits("mask", flags.into(), SBX_MOUNT_OPTIONAL.into())?;
        self.add("mask", target, flags, MountKind::Mask)
    }
}

#[cfg(test)]
mod tests {
    use super::super::valid::tests::{refused, text};
    use super::*;

    #[test]
    fn one_kind_of_root() {
        let mut runner = Runner::default();
        refused(runner.set_pivot_root(None, 2), libc::EINVAL, "pivot_root");
        refused(runner.set_pivot_root(Some(text("")), 0), libc::EINVAL, "pivot_root");
        refused(runner.set_pivot_root(Some(text("r")), 0), libc::EINVAL, "pivot_root");
        assert!(runner.root.is_none());
        runner.set_pivot_root(Some(text("/r/../s")), 0).unwrap();
        runner.set_pivot_root(None, SBX_ROOT_WRITABLE).unwrap();
        refused(runner.set_chroot(None), libc::EINVAL, "chroot");
        let root = runner.root.as_ref().unwrap();
        assert!(root.kind == RootKind::Pivot && root.path.is_none() && root.writable);
        let mut runner = Runner::default();
        runner.set_chroot(Some(text("/r"))).unwrap();
        refused(runner.set_pivot_root(None, 0), libc::EINVAL, "pivot_root");
    }

    #[test]
    fn targets_are_normal_and_unique() {
        let mut runner = Runner::default();
        runner.add_bind(text("/usr"), &text("//usr/./"), BIND).unwrap();
        assert_eq!(runner.mounts[0].target, text("/usr"));
        refused(runner.add_dir(&text("/usr"), 0o755, 0), libc::EINVAL, "dir");
        refused(runner.add_mask(&text("/usr/"), 0), libc::EINVAL, "mask");
        refused(runner.add_proc(&text("/"), 0), libc::EINVAL, "proc");
        refused(runner.add_proc(&text("/a/../proc"), 0), libc::EINVAL, "proc");
        refused(runner.add_proc(&text("proc"), 0), libc::EINVAL, "proc");
        refused(runner.add_bind(text("usr"), &text("/b"), 0), libc::EINVAL, "bind");
        let raw = |runner: &mut Runner, target| {
            runner.add_mount(None, &text(target), Some(text("tmpfs")), 0, None, 0)
        };
        raw(&mut runner, "/usr").unwrap();
        refused(raw(&mut runner, "/"), libc::EINVAL, "mount");
        raw(&mut runner, "/new").unwrap();
        runner.add_dev(&text("/new"), SBX_MOUNT_DEVPTS).unwrap();
        assert_eq!(runner.mounts.len(), 4);
    }

    #[test]
    fn each_kind_has_its_flags() {
        let mut runner = Runner::default();
        let (t, all) = (text("/t"), u32::MAX);
        refused(runner.add_bind(text("/"), &t, SBX_MOUNT_DEVPTS), libc::EINVAL, "bind");
        refused(runner.add_tmpfs(&t, 0, 0, 0o755, SBX_MOUNT_NONRECURSIVE), libc::EINVAL, "tmpfs");
        refused(runner.add_proc(&t, SBX_MOUNT_DEVPTS), libc::EINVAL, "proc");
        refused(runner.add_dev(&t, SBX_MOUNT_NOEXEC), libc::EINVAL, "dev");
        refused(runner.add_symlink(text("x"), &t, SBX_MOUNT_WRITABLE), libc::EINVAL, "symlink");
        refused(runner.add_file(&t, &[], 0o644, SBX_MOUNT_WRITABLE), libc::EINVAL, "file");
        refused(runner.add_dir(&t, 0o755, SBX_MOUNT_NOEXEC), libc::EINVAL, "dir");
        refused(runner.add_mask(&t, all), libc::EINVAL, "mask");
        refused(
            runner.add_mount(None, &t, Some(text("x")), 0, None, SBX_MOUNT_WRITABLE),
            libc::EINVAL,
            "mount",
        );
        assert!(runner.mounts.is_empty());
    }

    #[test]
    fn limits_and_contents() {
        let mut runner = Runner::default();
        let t = text("/t");
        refused(runner.add_tmpfs(&t, u64::MAX, 0, 0o755, 0), libc::EINVAL, "tmpfs");
        refused(runner.add_tmpfs(&t, 0, u64::MAX, 0o755, 0), libc::EINVAL, "tmpfs");
        refused(runner.add_tmpfs(&t, 0, 0, 0o10000, 0), libc::EINVAL, "tmpfs");
        refused(runner.add_dir(&t, u32::MAX, 0), libc::EINVAL, "dir");
        refused(runner.add_file(&t, &[], 0o10644, 0), libc::EINVAL, "file");
        refused(runner.add_symlink(text(""), &t, 0), libc::EINVAL, "symlink");
        runner.add_tmpfs(&t, 1 << 40, 0, 0o1777, SBX_MOUNT_WRITABLE).unwrap();
        runner.add_file(&text("/f"), b"a\0b", 0o644, 0).unwrap();
        let MountKind::File { data, .. } = &runner.mounts[1].kind else { panic!() };
        assert_eq!(data, b"a\0b");
    }

    #[test]
    fn overlays() {
        let mut runner = Runner::default();
        let mut add = |lower: usize, upper: Option<&str>, work: Option<&str>, flags| {
            let lower = (0..lower).map(|_| text("/l")).collect();
            runner.add_overlay(lower, upper.map(text), work.map(text), &text("/t"), flags)
        };
        for (lower, upper, work, flags) in [
            (0, Some("/u"), Some("/w"), 0),
            (0, None, None, 0),
            (1, None, None, 0),
            (65, None, None, 0),
            (2, Some("/u"), None, 0),
            (2, None, Some("/w"), 0),
            (2, Some("u"), Some("/w"), 0),
            (2, None, None, SBX_MOUNT_WRITABLE),
        ] {
            refused(add(lower, upper, work, flags), libc::EINVAL, "overlay");
        }
        add(64, Some("/u"), Some("/w"), SBX_MOUNT_WRITABLE).unwrap();
        let lower = vec![text("/a"), text("b")];
        let error = refused(
            runner.add_overlay(lower, None, None, &text("/t2"), 0),
            libc::EINVAL,
            "overlay",
        );
        assert_eq!(error.index, 1);
        let separated = ",".repeat(200);
        for (count, fits) in [(10, true), (11, false)] {
            let lower = (0..count).map(|_| text(&format!("/{separated}"))).collect();
            let added = runner.add_overlay(lower, None, None, &text(&format!("/{count}")), 0);
            assert_eq!(added.is_ok(), fits, "{count} paths of 402 bytes");
        }
    }
}
