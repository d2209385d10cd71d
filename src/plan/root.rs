//! Steps for the new root: making it, sealing it, entering it.

use super::builder::{Arg, Builder, Slot};
use super::entries::{self, Sources};
use super::host::Host;
use super::links;
use super::mounts;
use super::sources::Patience;
use super::tree::Tree;
use crate::child::plan::op;
use crate::error::{Location, Result};
use crate::launch::Launch;
use crate::runner::{IdMap, MountKind, Root, RootKind, Runner};

/// MOUNT_ATTR_*, linux/mount.h.
pub mod attr {
    pub const RDONLY: u64 = 1;
    pub const NOSUID: u64 = 2;
    pub const NODEV: u64 = 4;
    pub const NOEXEC: u64 = 8;
}

/// OPEN_TREE_CLONE.
pub const OPEN_TREE_CLONE: u64 = 1;
/// AT_RECURSIVE.
pub const AT_RECURSIVE: u64 = 0x8000;
/// MOVE_MOUNT_F_EMPTY_PATH.
pub const FROM_FD: u64 = 4;
/// MOVE_MOUNT_T_EMPTY_PATH.
pub const TO_FD: u64 = 0x40;

const FSOPEN_CLOEXEC: u64 = 1;
const FSCONFIG_SET_STRING: u64 = 1;
const FSCONFIG_CMD_CREATE: u64 = 6;
const FSMOUNT_CLOEXEC: u64 = 1;

/// Nothing that is mounted from here on travels back to the host, or from it.
pub fn make_private(builder: &mut Builder) -> Result<()> {
    let slash = builder.cstr(c"/")?;
    let flags = Arg::from(libc::MS_REC | libc::MS_PRIVATE);
    let args = [0.into(), slash, 0.into(), flags, 0.into()];
    builder.call(Location::MountPrivate, libc::SYS_mount, &args)?;
    Ok(())
}

/// Puts a read-only mount of /dev/null over /dev/null, in this mount namespace.
pub fn cover_dev_null(builder: &mut Builder) -> Result<()> {
    let location = Location::DevNull;
    let (path, empty) = (builder.cstr(c"/dev/null")?, builder.cstr(c"")?);
    let copy = builder.slot()?;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as u64;
    let args = [libc::AT_FDCWD.into(), path, flags.into()];
    builder.call(location, libc::SYS_open_tree, &args)?.out(copy);
    mounts::set_attributes(builder, location, copy, mounts::DEVICE_ATTRIBUTES, 0, 0)?;
    let args = [copy.into(), empty, libc::AT_FDCWD.into(), path, FROM_FD.into()];
    builder.call(location, libc::SYS_move_mount, &args)?;
    builder.close(location, copy)
}

/// Ids of the new user namespace, for what is made in its file systems.
#[derive(Clone, Copy)]
pub struct Ids {
    /// File system uid.
    pub uid: u32,
    /// File system gid.
    pub gid: u32,
}

/// The ids to take while making files; None: the host's own are good. A host whose ids are not in the
/// new user namespace's maps could make nothing on a tmpfs of that namespace (EOVERFLOW).
pub fn ids_to_take(runner: &Runner, host: &Host) -> Option<Ids> {
    if !runner.makes(libc::CLONE_NEWUSER) {
        return None;
    }
    let (uid, gid) = (
        IdMap::to_inside(&runner.uid_map, host.euid),
        IdMap::to_inside(&runner.gid_map, host.egid),
    );
    if uid.is_some() && gid.is_some() {
        return None;
    }
    let credential = runner.credential.as_ref()?;
    Some(Ids { uid: uid.unwrap_or(credential.uid), gid: gid.unwrap_or(credential.gid) })
}

/// True if inodes are made on a file system of the new user namespace: files, a /dev, or targets that
/// lie on a tmpfs.
fn makes_inodes(runner: &Runner, launch: &Launch) -> bool {
    let targets = || {
        let binds = launch.binds.iter().map(|bind| bind.target.bytes());
        runner.mounts.iter().map(|mount| mount.target.bytes()).chain(binds)
    };
    runner.mounts.iter().any(|mount| match mount.kind {
        MountKind::File { .. } | MountKind::Dev => true,
        MountKind::Tmpfs { .. } | MountKind::Raw { .. } | MountKind::Overlay { .. } => targets()
            .any(|target| {
                let rest = target.strip_prefix(mount.target.bytes());
                rest.is_some_and(|rest| rest.starts_with(b"/"))
            }),
        _ => false,
    })
}

/// Makes the files that cannot simply be made in the root, because it is somebody else's or another
/// entry lies above them: on a tmpfs of which only mounts of the files remain. It is gone again before
/// the root is attached: nothing may lie on top of a root, or "..", which looks for a mount where it
/// cannot climb, would lead there.
fn make_files(
    builder: &mut Builder,
    runner: &Runner,
    is_fresh: bool,
    sources: &mut Sources,
) -> Result<()> {
    let mut scratch = None;
    for (index, mount) in runner.mounts.iter().enumerate() {
        let MountKind::File { data, mode } = &mount.kind else { continue };
        if is_fresh && !lies_beneath_another(runner, index) {
            continue;
        }
        let directory = match scratch {
            Some(directory) => directory,
            None => *scratch.insert(fresh(builder)?),
        };
        let start = builder.position();
        let source = links::detached_file(builder, directory, index, data, *mode)?;
        entries::belongs_to(builder, start, index, mount.flags);
        if let Some(known) = sources.get_mut(index) {
            known.opened = Some(source);
        }
    }
    if let Some(scratch) = scratch {
        let dot = builder.cstr(c".")?;
        builder.call(Location::Root, libc::SYS_fchdir, &[scratch.into()])?;
        builder.call(Location::Root, libc::SYS_umount2, &[dot, libc::MNT_DETACH.into()])?;
        builder.close(Location::Root, scratch)?;
    }
    Ok(())
}

/// True if another entry than a plain directory is at or above this one's target.
fn lies_beneath_another(runner: &Runner, index: usize) -> bool {
    let Some(file) = runner.mounts.get(index) else { return false };
    runner.mounts.iter().enumerate().any(|(other, mount)| {
        let beneath = file.target.bytes().strip_prefix(mount.target.bytes());
        other != index
            && !matches!(mount.kind, MountKind::Dir { .. })
            && beneath.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    })
}

/// True if anything is made on a file system of the new user namespace.
pub fn makes_anything(runner: &Runner, launch: &Launch) -> bool {
    let is_fresh = runner.root.as_ref().is_some_and(|root| root.path.is_none());
    is_fresh && (!runner.mounts.is_empty() || !launch.binds.is_empty())
        || makes_inodes(runner, launch)
}

/// True if the start has to take other file system ids than the host's.
pub fn takes_ids(runner: &Runner, launch: &Launch, host: &Host) -> bool {
    let is_fresh = runner.root.as_ref().is_some_and(|root| root.path.is_none());
    (is_fresh || makes_inodes(runner, launch)) && ids_to_take(runner, host).is_some()
}

/// Everything between the namespaces and the program's own steps that has to do with files.
pub fn add(
    builder: &mut Builder,
    runner: &Runner,
    launch: &Launch,
    ids: Option<Ids>,
    patience: Patience,
) -> Result<()> {
    let own_mounts = runner.makes(libc::CLONE_NEWNS);
    let root = runner.root.as_ref();
    if let Some(Root { kind: RootKind::Chroot, path: Some(path), .. }) = root
        && !own_mounts
    {
        let path = builder.text(path.bytes())?;
        builder.call(Location::Chroot, libc::SYS_chroot, &[path])?;
        return chdir_to_root(builder);
    }
    if root.is_none() && runner.mounts.is_empty() && launch.binds.is_empty() {
        return Ok(());
    }
    let is_fresh = root.is_some_and(|root| root.path.is_none());
    let takes_ids = ids.filter(|_| is_fresh || makes_inodes(runner, launch));
    // Mounting enters directories; without a new root the program stays where the host is.
    let cwd = if root.is_none() { Some(open_directory(builder, b".")?) } else { None };
    let (mut sources, binds_the_root) = entries::look_at_sources(runner, launch, patience)?;
    if takes_ids.is_some() || binds_the_root {
        entries::open_sources(builder, runner, launch, &mut sources)?;
    }
    if let Some(ids) = takes_ids {
        let (uid, gid) = (Arg::from(ids.uid), Arg::from(ids.gid));
        builder.call(Location::FsIds, libc::SYS_setfsgid, &[gid])?;
        builder.call(Location::FsIds, libc::SYS_setfsuid, &[uid])?;
    }
    make_files(builder, runner, is_fresh, &mut sources)?;
    let top = match root {
        Some(Root { path: None, .. }) => fresh(builder)?,
        Some(Root { kind: RootKind::Pivot, path: Some(path), writable }) => {
            existing(builder, path.bytes(), *writable)?
        }
        Some(Root { kind: RootKind::Chroot, path: Some(path), .. }) => {
            open_directory(builder, path.bytes())?
        }
        None => open_directory(builder, b"/")?,
    };
    let mut tree = Tree::new(top, is_fresh)?;
    tree.is_hosts = root.is_none();
    mounts::add(builder, &mut tree, runner, launch, &sources, ids)?;
    tree.certain = true;
    if let Some(cwd) = cwd {
        builder.call(Location::Chdir, libc::SYS_fchdir, &[cwd.into()])?;
        builder.close(Location::Chdir, cwd)?;
    }

    let Some(root) = root else { return builder.close(Location::Root, top) };
    if !root.writable && (root.kind == RootKind::Pivot || is_fresh) {
        mounts::set_attributes(builder, Location::RootSeal, top, attr::RDONLY, 0, 0)?;
    }
    let dot = builder.cstr(c".")?;
    let identity = if root.kind == RootKind::Pivot { Some(inode(builder, top)?) } else { None };
    match root.kind {
        RootKind::Pivot => {
            tree.enter(builder, Location::PivotRoot)?;
            // With both names the same the old root ends up on top of the new one, and is let go.
            builder.call(Location::PivotRoot, libc::SYS_pivot_root, &[dot, dot])?;
            builder.call(
                Location::PivotRoot,
                libc::SYS_umount2,
                &[dot, libc::MNT_DETACH.into()],
            )?;
        }
        RootKind::Chroot => {
            tree.enter(builder, Location::Chroot)?;
            builder.call(Location::Chroot, libc::SYS_chroot, &[dot])?;
        }
    }
    builder.close(Location::Root, top)?;
    chdir_to_root(builder)?;
    match identity {
        Some(identity) => nothing_lies_above(builder, identity),
        None => Ok(()),
    }
}

/// The 16 bytes that identify an open file: struct stat begins with device and inode.
fn inode(builder: &mut Builder, fd: Slot) -> Result<Arg> {
    let stat = Arg::Data(builder.words(&[0; size_of::<libc::stat>() / 8])?);
    builder.call(Location::PivotRoot, libc::SYS_fstat, &[fd.into(), stat])?;
    Ok(stat)
}

/// Only the topmost mount of the old root was let go. Were the host's root a stack of mounts, the rest
/// would still lie on top of the new root, where ".." steps into it: so ".." is looked at.
fn nothing_lies_above(builder: &mut Builder, root: Arg) -> Result<()> {
    let location = Location::PivotRoot;
    let above = builder.cstr(c"/..")?;
    let opened = builder.slot()?;
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    let args = [libc::AT_FDCWD.into(), above, flags.into(), 0.into()];
    builder.call(location, libc::SYS_openat, &args)?.out(opened);
    let found = inode(builder, opened)?;
    builder.add(op::COMPARE, location, 0, &[found, root, 16.into()])?.expect(0, libc::EBUSY);
    builder.close(location, opened)
}

fn chdir_to_root(builder: &mut Builder) -> Result<()> {
    let slash = builder.cstr(c"/")?;
    builder.call(Location::Chdir, libc::SYS_chdir, &[slash])?;
    Ok(())
}

/// A fresh tmpfs, attached on top of the old root: the one mount point that every host has.
fn fresh(builder: &mut Builder) -> Result<Slot> {
    let context = builder.slot()?;
    let (tmpfs, mode, octal) =
        (builder.cstr(c"tmpfs")?, builder.cstr(c"mode")?, builder.cstr(c"755")?);
    builder.call(Location::Root, libc::SYS_fsopen, &[tmpfs, FSOPEN_CLOEXEC.into()])?.out(context);
    builder.call(
        Location::Root,
        libc::SYS_fsconfig,
        &[context.into(), FSCONFIG_SET_STRING.into(), mode, octal, 0.into()],
    )?;
    builder.call(
        Location::Root,
        libc::SYS_fsconfig,
        &[context.into(), FSCONFIG_CMD_CREATE.into(), 0.into(), 0.into(), 0.into()],
    )?;
    let top = builder.slot()?;
    builder
        .call(
            Location::Root,
            libc::SYS_fsmount,
            &[context.into(), FSMOUNT_CLOEXEC.into(), (attr::NOSUID | attr::NODEV).into()],
        )?
        .out(top);
    builder.close(Location::Root, context)?;
    attach(builder, top)?;
    Ok(top)
}

/// A copy of an existing tree, nosuid and nodev. Unless it stays writable, all its submounts are made
/// read-only now, before anything else is mounted beneath; its top is sealed at the end, when the
/// missing targets have been made.
fn existing(builder: &mut Builder, path: &[u8], writable: bool) -> Result<Slot> {
    let top = builder.slot()?;
    let path = builder.text(path)?;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as u64 | AT_RECURSIVE;
    builder
        .call(Location::Root, libc::SYS_open_tree, &[libc::AT_FDCWD.into(), path, flags.into()])?
        .out(top);
    let seal = if writable { 0 } else { attr::RDONLY };
    mounts::set_attributes(
        builder,
        Location::Root,
        top,
        attr::NOSUID | attr::NODEV | seal,
        0,
        AT_RECURSIVE,
    )?;
    if !writable {
        // Where the top is read-only for good (a locked mount), only existing targets can be used.
        mounts::set_attributes(builder, Location::Root, top, 0, attr::RDONLY, 0)?
            .tolerate(libc::EPERM);
    }
    attach(builder, top)?;
    Ok(top)
}

fn attach(builder: &mut Builder, top: Slot) -> Result<()> {
    let (empty, slash) = (builder.cstr(c"")?, builder.cstr(c"/")?);
    builder.call(
        Location::Root,
        libc::SYS_move_mount,
        &[top.into(), empty, libc::AT_FDCWD.into(), slash, FROM_FD.into()],
    )?;
    Ok(())
}

fn open_directory(builder: &mut Builder, path: &[u8]) -> Result<Slot> {
    let top = builder.slot()?;
    let path: Arg = builder.text(path)?;
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    builder
        .call(
            Location::Root,
            libc::SYS_openat,
            &[libc::AT_FDCWD.into(), path, flags.into(), 0.into()],
        )?
        .out(top);
    Ok(top)
}
