//! Steps for a minimal /dev: a tmpfs with the harmless devices of the host, read-only at the end.

use super::builder::{Arg, Builder};
use super::mounts::{DEVICE_ATTRIBUTES, mount_at, set_attributes};
use super::root::{FROM_FD, OPEN_TREE_CLONE, attr};
use super::tree::Tree;
use crate::error::{Location, Result};
use crate::flags::{SBX_MOUNT_DEVPTS, SBX_MOUNT_WRITABLE};

/// Bound from the host rather than made: mknod of a device needs the initial user namespace.
const DEVICES: [(&core::ffi::CStr, &core::ffi::CStr); 5] = [
    (c"/dev/null", c"null"),
    (c"/dev/zero", c"zero"),
    (c"/dev/full", c"full"),
    (c"/dev/random", c"random"),
    (c"/dev/urandom", c"urandom"),
];

const LINKS: [(&core::ffi::CStr, &core::ffi::CStr); 4] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
];

/// Adds the steps.
pub fn add(builder: &mut Builder, tree: &mut Tree, path: &[u8], flags: u32) -> Result<()> {
    let (tmpfs, options) =
        (builder.cstr(c"tmpfs")?, builder.cstr(c"mode=755,size=64k,nr_inodes=64")?);
    mount_at(
        builder,
        tree,
        path,
        [tmpfs, tmpfs, (libc::MS_NOSUID | libc::MS_NOEXEC).into(), options],
    )?;
    let directory = tree.open(builder, path, libc::O_PATH | libc::O_DIRECTORY)?;
    tree.cover(path)?;
    let empty = builder.cstr(c"")?;
    for (device, name) in DEVICES {
        let (device, name) = (builder.cstr(device)?, builder.cstr(name)?);
        builder.call(
            Location::MountTarget,
            libc::SYS_mknodat,
            &[directory.into(), name, (libc::S_IFREG | 0o666).into(), 0.into()],
        )?;
        let source = builder.slot()?;
        let clone = OPEN_TREE_CLONE | libc::O_CLOEXEC as u64;
        builder
            .call(
                Location::MountSource,
                libc::SYS_open_tree,
                &[libc::AT_FDCWD.into(), device, clone.into()],
            )?
            .out(source);
        set_attributes(builder, Location::MountAttr, source, DEVICE_ATTRIBUTES, 0, 0)?;
        builder.call(
            Location::Mount,
            libc::SYS_move_mount,
            &[source.into(), empty, directory.into(), name, FROM_FD.into()],
        )?;
        builder.close(Location::Mount, source)?;
    }
    for (text, name) in LINKS {
        let (text, name) = (builder.cstr(text)?, builder.cstr(name)?);
        builder.call(Location::Symlink, libc::SYS_symlinkat, &[text, directory.into(), name])?;
    }
    if flags & SBX_MOUNT_DEVPTS != 0 {
        let (pts, ptmx, link) =
            (builder.cstr(c"pts")?, builder.cstr(c"ptmx")?, builder.cstr(c"pts/ptmx")?);
        builder.call(
            Location::MountTarget,
            libc::SYS_mkdirat,
            &[directory.into(), pts, 0o755.into()],
        )?;
        let target = builder.slot()?;
        let open = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        builder
            .call(
                Location::MountTarget,
                libc::SYS_openat,
                &[directory.into(), pts, open.into(), 0.into()],
            )?
            .out(target);
        tree.entered = false;
        builder.call(Location::MountTarget, libc::SYS_fchdir, &[target.into()])?;
        let (devpts, dot, options): (Arg, Arg, Arg) = (
            builder.cstr(c"devpts")?,
            builder.cstr(c".")?,
            builder.cstr(c"newinstance,ptmxmode=0666,mode=620")?,
        );
        builder.call(
            Location::Mount,
            libc::SYS_mount,
            &[devpts, dot, devpts, (libc::MS_NOSUID | libc::MS_NOEXEC).into(), options],
        )?;
        builder.close(Location::Mount, target)?;
        builder.call(Location::Symlink, libc::SYS_symlinkat, &[link, directory.into(), ptmx])?;
    }
    if flags & SBX_MOUNT_WRITABLE == 0 {
        set_attributes(builder, Location::MountAttr, directory, attr::RDONLY, 0, 0)?;
    }
    builder.close(Location::Mount, directory)
}
