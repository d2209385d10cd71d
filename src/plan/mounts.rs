//! Steps for what is put into the new root.
//!
//! Sources are opened before their targets are made, and both are handled by descriptor: what was
//! opened is what gets mounted (src/plan/tree.rs for targets).

use super::builder::{Arg, Builder, Slot};
use super::entries::{Entry, Known, Sources, entries};
use super::mount_flags::{ms_flags, overlay_options, read_only};
use super::root::{AT_RECURSIVE, FROM_FD, Ids, TO_FD, attr};
use super::sources::{Source, tree_flags};
use super::step::Added;
use super::tree::{Tree, Want};
use crate::child::plan::op;
use crate::error::{Error, Location, Result};
use crate::flags::*;
use crate::launch::Launch;
use crate::mem::{self, Text};
use crate::runner::{Mount, MountKind, Runner};

/// For device files of the host: they can be written to all the same, but nobody can change their
/// mode, owner or times, which are the host's.
pub const DEVICE_ATTRIBUTES: u64 = attr::RDONLY | attr::NOSUID | attr::NOEXEC;

/// Adds the runner's entries, then the launch's binds.
pub fn add(
    builder: &mut Builder,
    tree: &mut Tree,
    runner: &Runner,
    launch: &Launch,
    sources: &Sources,
    ids: Option<Ids>,
) -> Result<()> {
    for (index, entry) in entries(runner, launch).enumerate() {
        let start = builder.position();
        let optional = entry.flags() & SBX_MOUNT_OPTIONAL != 0;
        tree.certain = !optional;
        let Known { look, opened } = sources.get(index).copied().unwrap_or(Known::NOTHING);
        let added = match (&entry, entry.bind()) {
            (
                Entry::Mount(Mount { kind: MountKind::Bind { source }, .. }),
                Some((attributes, recursive)),
            ) if opened.is_none()
                && !optional
                && tree.leads_to(entry.path())
                && look.is_directory == Some(true) =>
            {
                bind_at_once(builder, tree, entry.path(), source, attributes, recursive)
            }
            (_, Some((attributes, recursive))) => match opened {
                Some(source) => Ok(source),
                None => entry.open_source(builder, look, recursive),
            }
            .and_then(|source| place(builder, tree, entry.path(), source, attributes, recursive)),
            (Entry::Mount(mount), None) => {
                add_mount(builder, tree, entry.path(), mount, ids, opened)
            }
            (Entry::Launch(_), None) => Ok(()),
        };
        added.map_err(|error| error.index(index))?;
        for position in start..builder.position() {
            builder.step(position, |step| step.index = index as i32);
        }
        if optional {
            builder.skip_on_any_error(start, SBX_UNENFORCED_MOUNT);
        }
    }
    Ok(())
}

fn add_mount(
    builder: &mut Builder,
    tree: &mut Tree,
    path: &[u8],
    mount: &Mount,
    ids: Option<Ids>,
    made: Option<Source>,
) -> Result<()> {
    if path.is_empty() {
        return Err(Error::invalid(format_args!("mount: the root itself cannot be a target")));
    }
    match &mount.kind {
        MountKind::Raw { source, fstype, flags, data } => {
            let name = |builder: &mut Builder, text: &Option<Text>| {
                text.as_ref().map_or(Ok(0.into()), |text| builder.text(text.bytes()))
            };
            let source = name(builder, source)?;
            let fstype = name(builder, fstype)?;
            let data = name(builder, data)?;
            mount_at(builder, tree, path, [source, fstype, (*flags).into(), data])?;
            tree.cover(path)
        }
        MountKind::Tmpfs { bytes, inodes, mode } => {
            tmpfs(builder, tree, path, (*bytes, *inodes, *mode), mount.flags, ids)
        }
        MountKind::Proc => {
            let hide = mount.flags & SBX_MOUNT_HIDEPID != 0;
            let hide = if hide { builder.cstr(c"hidepid=2")? } else { 0.into() };
            let proc = builder.cstr(c"proc")?;
            let always = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            let flags = always | read_only(mount.flags);
            mount_at(builder, tree, path, [proc, proc, flags.into(), hide])?;
            tree.cover(path)
        }
        MountKind::Dev => super::dev::add(builder, tree, path, mount.flags),
        MountKind::Overlay { lower, upper } => {
            let options = overlay_options(lower, upper.as_ref())?;
            let overlay = builder.cstr(c"overlay")?;
            let options = builder.text(&options)?;
            let flags = ms_flags(mount.flags) | read_only(mount.flags);
            mount_at(builder, tree, path, [overlay, overlay, flags.into(), options])?;
            tree.cover(path)?;
            if mount.flags & SBX_MOUNT_WRITABLE == 0 {
                return Ok(());
            }
            // Where the work directory cannot be prepared the kernel mounts it read-only, silently.
            let (top, empty) = (tree.open(builder, path, libc::O_PATH)?, builder.cstr(c"")?);
            let flags = libc::AT_EMPTY_PATH | libc::AT_EACCESS;
            let args = [top.into(), empty, libc::W_OK.into(), flags.into()];
            builder.call(Location::Mount, libc::SYS_faccessat2, &args)?.tolerate(libc::EACCES);
            builder.close(Location::Mount, top)
        }
        MountKind::Symlink { text } => super::links::symlink(builder, tree, path, text),
        MountKind::File { data, mode } => {
            super::links::file(builder, tree, path, (data, *mode), made)
        }
        MountKind::Dir { mode } => {
            let place = tree.make(builder, path, Want::Directory(*mode))?;
            if !place.ours {
                // What was there already has to be a directory, and stays as it is.
                let flags = libc::O_PATH | libc::O_DIRECTORY;
                let directory = tree.open(builder, path, flags)?;
                builder.close(Location::MountTarget, directory)?;
            }
            tree.leave(builder, place)
        }
        MountKind::Mask => mask(builder, tree, path),
        // A bind without a source, which the setter refuses.
        MountKind::Bind { .. } => Ok(()),
    }
}

/// Sets a detached tree's attributes, makes its target and moves it there.
fn place(
    builder: &mut Builder,
    tree: &mut Tree,
    path: &[u8],
    source: Source,
    attributes: u64,
    recursive: bool,
) -> Result<()> {
    if attributes != 0 {
        let flags = if recursive { AT_RECURSIVE } else { 0 };
        set_attributes(builder, Location::MountAttr, source.tree, attributes, 0, flags)?;
    }
    match source.is_directory {
        Some(true) => move_to(builder, tree, path, source.tree, Want::Directory(0o755)),
        Some(false) => move_to(builder, tree, path, source.tree, Want::File),
        None => move_unknown(builder, tree, path, source.tree),
    }
}

/// Makes a target for a tree of which it is not known whether it is a directory: only one of those
/// has a ".".
fn move_unknown(builder: &mut Builder, tree: &mut Tree, path: &[u8], source: Slot) -> Result<()> {
    let location = Location::MountTarget;
    let place = tree.parent(builder, path)?;
    let (directory, name) = (Arg::from(place.directory), place.name);
    let make = !tree.is_hosts;
    let dot = builder.cstr(c".")?;
    let probe = builder.slot()?;
    let flags = Arg::from(libc::O_PATH | libc::O_CLOEXEC);
    let args = [source.into(), dot, flags, 0.into()];
    let added = builder.call(Location::MountSource, libc::SYS_openat, &args)?.out(probe);
    let is_file = added.catch(libc::ENOTDIR as u16);
    builder.close(Location::MountSource, probe)?;
    if make {
        let args = [directory, name, 0o755.into()];
        builder.call(location, libc::SYS_mkdirat, &args)?.tolerate(libc::EEXIST);
    }
    let done = builder.add(op::JUMP, location, 0, &[])?.position();
    builder.land_here(is_file);
    if make {
        let args = [directory, name, (libc::S_IFREG | 0o644).into(), 0.into()];
        builder.call(location, libc::SYS_mknodat, &args)?.tolerate(libc::EEXIST);
    }
    builder.land_here(done);
    tree.leave(builder, place)?;
    tree.cover(path)?;
    move_onto(builder, tree, path, source)?;
    builder.close(Location::Mount, source)
}

/// Moves a detached tree onto a target that is there, resolved inside the root.
fn move_onto(builder: &mut Builder, tree: &Tree, path: &[u8], source: Slot) -> Result<()> {
    let empty = builder.cstr(c"")?;
    let target = tree.open(builder, path, libc::O_PATH)?;
    let args = [source.into(), empty, target.into(), empty, (FROM_FD | TO_FD).into()];
    builder.call(Location::Mount, libc::SYS_move_mount, &args)?;
    builder.close(Location::Mount, target)
}

/// Makes a target and moves a detached tree there.
pub fn move_to(
    builder: &mut Builder,
    tree: &mut Tree,
    path: &[u8],
    source: Slot,
    want: Want,
) -> Result<()> {
    let place = tree.make(builder, path, want)?;
    let empty = builder.cstr(c"")?;
    let location = Location::Mount;
    if place.ours {
        let args = [source.into(), empty, place.directory.into(), place.name, FROM_FD.into()];
        builder.call(location, libc::SYS_move_mount, &args)?;
    } else {
        move_onto(builder, tree, path, source)?;
    }
    tree.leave(builder, place)?;
    tree.cover(path)?;
    builder.close(location, source)
}

/// mount_setattr(2) on a mount's own descriptor.
pub fn set_attributes(
    builder: &mut Builder,
    location: Location,
    mount: Slot,
    set: u64,
    clear: u64,
    flags: u64,
) -> Result<Added<'_>> {
    // struct mount_attr: set, clear, propagation, user namespace.
    let attributes = Arg::Data(builder.words(&[set, clear, 0, 0])?);
    let empty = builder.cstr(c"")?;
    let flags = Arg::from(libc::AT_EMPTY_PATH as u64 | flags);
    builder.call(
        location,
        libc::SYS_mount_setattr,
        &[mount.into(), empty, flags, attributes, 32.into()],
    )
}

/// mount(2) on a directory. Where the way there is not the plan's own the directory is entered for
/// it: a path could be changed under it, "." cannot. The caller says to the tree what is there now.
pub fn mount_at(
    builder: &mut Builder,
    tree: &mut Tree,
    path: &[u8],
    [source, fstype, flags, data]: [Arg; 4],
) -> Result<()> {
    let place = tree.make(builder, path, Want::Directory(0o755))?;
    if place.ours {
        tree.enter(builder, Location::MountTarget)?;
        let args = [source, place.name, fstype, flags, data];
        builder.call(Location::Mount, libc::SYS_mount, &args)?;
        return Ok(());
    }
    tree.leave(builder, place)?;
    let target = tree.open(builder, path, libc::O_PATH | libc::O_DIRECTORY)?;
    let dot = builder.cstr(c".")?;
    tree.entered = false;
    builder.call(Location::MountTarget, libc::SYS_fchdir, &[target.into()])?;
    builder.call(Location::Mount, libc::SYS_mount, &[source, dot, fstype, flags, data])?;
    builder.close(Location::Mount, target)
}

/// A bind of a directory that is there, onto a way of the plan's own: three calls instead of five.
fn bind_at_once(
    builder: &mut Builder,
    tree: &mut Tree,
    path: &[u8],
    source: &Text,
    attributes: u64,
    recursive: bool,
) -> Result<()> {
    let place = tree.make(builder, path, Want::Directory(0o755))?;
    tree.enter(builder, Location::MountTarget)?;
    let source = builder.text(source.bytes())?;
    let flags = libc::MS_BIND | if recursive { libc::MS_REC } else { 0 };
    let args = [source, place.name, 0.into(), flags.into(), 0.into()];
    builder.call(Location::Mount, libc::SYS_mount, &args)?;
    if attributes != 0 {
        let attributes = Arg::Data(builder.words(&[attributes, 0, 0, 0])?);
        let flags = Arg::from(if recursive { AT_RECURSIVE } else { 0 });
        let args = [libc::AT_FDCWD.into(), place.name, flags, attributes, 32.into()];
        builder.call(Location::MountAttr, libc::SYS_mount_setattr, &args)?;
    }
    tree.cover(path)
}

fn tmpfs(
    builder: &mut Builder,
    tree: &mut Tree,
    path: &[u8],
    (bytes, inodes, mode): (u64, u64, u32),
    flags: u32,
    ids: Option<Ids>,
) -> Result<()> {
    let mut options = Vec::new();
    let mut option = |text: core::fmt::Arguments| {
        let mut buffer = [0u8; 48];
        mem::extend(&mut options, mem::format_into(&mut buffer, text))
    };
    option(format_args!("mode={mode:o}"))?;
    if bytes != 0 {
        option(format_args!(",size={bytes}"))?;
    }
    if inodes != 0 {
        option(format_args!(",nr_inodes={inodes}"))?;
    }
    // Its root must belong to somebody whom the user namespace knows.
    if let Some(ids) = ids {
        option(format_args!(",uid={},gid={}", ids.uid, ids.gid))?;
    }
    let tmpfs = builder.cstr(c"tmpfs")?;
    let options = builder.text(&options)?;
    mount_at(builder, tree, path, [tmpfs, tmpfs, ms_flags(flags).into(), options])?;
    tree.cover_with_own(path)
}

/// Hides a directory under an empty read-only tmpfs, anything else under /dev/null.
fn mask(builder: &mut Builder, tree: &mut Tree, path: &[u8]) -> Result<()> {
    let location = Location::Mask;
    let target = tree.open(builder, path, libc::O_PATH)?;
    tree.entered = false;
    let not_a_directory =
        builder.call(location, libc::SYS_fchdir, &[target.into()])?.catch(libc::ENOTDIR as u16);
    let tmpfs = builder.cstr(c"tmpfs")?;
    let dot = builder.cstr(c".")?;
    let options = builder.cstr(c"mode=555,nr_inodes=1")?;
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    builder.call(location, libc::SYS_mount, &[tmpfs, dot, tmpfs, flags.into(), options])?;
    let done = builder.add(op::JUMP, location, 0, &[])?.position();

    builder.land_here(not_a_directory);
    let null = builder.cstr(c"/dev/null")?;
    let empty = builder.cstr(c"")?;
    let source = builder.slot()?;
    let args = [libc::AT_FDCWD.into(), null, tree_flags(false, 0)];
    builder.call(location, libc::SYS_open_tree, &args)?.out(source);
    set_attributes(builder, location, source, DEVICE_ATTRIBUTES, 0, 0)?;
    let args = [source.into(), empty, target.into(), empty, (FROM_FD | TO_FD).into()];
    builder.call(location, libc::SYS_move_mount, &args)?;
    builder.close(location, source)?;

    builder.land_here(done);
    builder.close(location, target)?;
    tree.cover(path)
}
