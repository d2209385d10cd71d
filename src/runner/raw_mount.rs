//! What sbx_add_mount may say to mount(2), which ignores much of what it does not like.

use super::valid;
use crate::error::{Error, Result};
use crate::mem::Text;

/// The propagation changes of mount(2): each is a call of its own.
const PROPAGATION: u64 = libc::MS_SHARED | libc::MS_PRIVATE | libc::MS_SLAVE | libc::MS_UNBINDABLE;
/// What a caller of mount(2) can say about a new mount; the rest is the kernel's own, or unknown.
const NEW_MOUNT: u64 = libc::MS_RDONLY
    | libc::MS_NOSUID
    | libc::MS_NODEV
    | libc::MS_NOEXEC
    | libc::MS_SYNCHRONOUS
    | libc::MS_MANDLOCK
    | libc::MS_DIRSYNC
    | MS_NOSYMFOLLOW
    | libc::MS_NOATIME
    | libc::MS_NODIRATIME
    | libc::MS_REC
    | libc::MS_SILENT
    | libc::MS_RELATIME
    | libc::MS_I_VERSION
    | libc::MS_STRICTATIME
    | MS_LAZYTIME;
/// What is done for a bind; mount(2) itself would ignore all but MS_REC without a word.
const BIND_MOUNT: u64 = libc::MS_BIND
    | libc::MS_REC
    | libc::MS_SILENT
    | libc::MS_RDONLY
    | libc::MS_NOSUID
    | libc::MS_NODEV
    | libc::MS_NOEXEC;
/// linux/mount.h (5.10).
const MS_NOSYMFOLLOW: u64 = 1 << 8;
/// linux/mount.h (4.0).
const MS_LAZYTIME: u64 = 1 << 25;

/// Refuses what would do something else than it says.
pub fn check(source: &Option<Text>, fstype: &Option<Text>, flags: u64) -> Result<()> {
    if flags & libc::MS_REMOUNT != 0 {
        return Err(Error::invalid(format_args!(
            "mount: MS_REMOUNT changes a mount; say how it should be where it is added"
        )));
    }
    if flags & libc::MS_MOVE != 0 {
        return Err(Error::invalid(format_args!(
            "mount: MS_MOVE takes a mount away from where another entry put it"
        )));
    }
    let unknown = flags & !(NEW_MOUNT | libc::MS_BIND | PROPAGATION);
    if unknown != 0 {
        return Err(Error::invalid(format_args!(
            "mount: MS_* flags {unknown:#x} are not for callers"
        )));
    }
    if flags & PROPAGATION != 0 {
        // The kernel takes one change at a time, and ignores whatever else stands beside it.
        let alone = !(libc::MS_REC | libc::MS_SILENT);
        if !(flags & alone).is_power_of_two() {
            return Err(Error::invalid(format_args!(
                "mount: a propagation flag stands alone, but for MS_REC and MS_SILENT"
            )));
        }
    } else if flags & libc::MS_BIND != 0 {
        let Some(source) = source else {
            return Err(Error::invalid(format_args!("mount: MS_BIND needs a source")));
        };
        valid::absolute("mount", source)?;
        let other = flags & !BIND_MOUNT;
        if other != 0 {
            return Err(Error::invalid(format_args!(
                "mount: MS_BIND does nothing with {other:#x}"
            )));
        }
    } else if fstype.is_none() {
        return Err(Error::invalid(format_args!("mount: a new mount needs a file system type")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Runner;
    use super::super::valid::tests::{refused, text};

    #[test]
    fn raw_mounts() {
        let mut runner = Runner::default();
        let mut add = |source: Option<&str>, fstype: Option<&str>, flags| {
            runner.add_mount(source.map(text), &text("/t"), fstype.map(text), flags, None, 0)
        };
        for (source, fstype, flags) in [
            (None, Some("tmpfs"), libc::MS_NOSUID | libc::MS_RDONLY),
            (Some("/a"), None, libc::MS_BIND | libc::MS_REC | libc::MS_RDONLY),
            (None, None, libc::MS_PRIVATE | libc::MS_REC),
        ] {
            add(source, fstype, flags).unwrap();
        }
        for (source, fstype, flags) in [
            (None, None, 0),
            (None, Some(""), 0),
            (Some(""), Some("tmpfs"), 0),
            (None, None, libc::MS_BIND),
            (Some("a"), None, libc::MS_BIND),
            (Some("/a"), None, libc::MS_BIND | libc::MS_REMOUNT),
            (Some("/a"), None, libc::MS_BIND | libc::MS_NOATIME),
            (Some("/a"), None, libc::MS_MOVE),
            (Some("/a"), None, libc::MS_BIND | libc::MS_PRIVATE),
            (None, None, libc::MS_PRIVATE | libc::MS_SLAVE),
            (None, Some("tmpfs"), 1 << 30),
            (None, Some("tmpfs"), 1 << 26),
            (None, Some("tmpfs"), 1 << 63),
        ] {
            refused(add(source, fstype, flags), libc::EINVAL, "mount");
        }
        let data = Some(text(&"d".repeat(4096)));
        refused(
            runner.add_mount(None, &text("/t"), Some(text("x")), 0, data, 0),
            libc::EINVAL,
            "mount",
        );
        assert_eq!(runner.mounts.len(), 3);
    }
}
