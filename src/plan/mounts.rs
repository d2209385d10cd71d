//! Steps for what is put into the new root.
//!
//! Sources are opened before their targets are made, and both are handled by descriptor: what was
//! opened is what gets mounted (src/plan/tree.rs for targets).

use super::builder::{Arg, Builder, Slot};
use super::root::{AT_RECURSIVE, FROM_FD, Ids, TO_FD, attr};
use super::sources::{Look, Source, look, open_descriptor, open_path, tree_flags};
use super::step::Added;
use super::tree::{Tree, Want};
use crate::child::plan::{ANY_ERRNO, op};
use crate::error::{Error, Location, Result};
use crate::flags::*;
use crate::launch::{Launch, LaunchBind};
use crate::mem::{self, Text};
use crate::runner::{Mount, MountKind, Runner};

/// What is known of the entries before the root is made, by entry.
pub type Sources = Vec<Known>;

/// What is known of an entry.
#[derive(Clone, Copy)]
pub struct Known {
    /// What a bind's source is.
    look: Look,
    /// A source that was opened, or a file that was made, ahead of its turn.
    pub opened: Option<Source>,
}

impl Known {
    const NOTHING: Known = Known { look: Look::NOTHING, opened: None };
}

/// For device files of the host: they can be written to all the same, but nobody can change their
/// mode, owner or times, which are the host's.
pub const DEVICE_ATTRIBUTES: u64 = attr::RDONLY | attr::NOSUID | attr::NOEXEC;

/// Something to be put into the root: the runner's, or the launch's.
enum Entry<'a> {
    Mount(&'a Mount),
    Launch(&'a LaunchBind),
}

fn entries<'a>(runner: &'a Runner, launch: &'a Launch) -> impl Iterator<Item = Entry<'a>> {
    runner.mounts.iter().map(Entry::Mount).chain(launch.binds.iter().map(Entry::Launch))
}

impl Entry<'_> {
    fn flags(&self) -> u32 {
        match self {
            Entry::Mount(mount) => mount.flags,
            Entry::Launch(bind) => bind.flags,
        }
    }

    /// The target, relative to the root.
    fn path(&self) -> &[u8] {
        let target = match self {
            Entry::Mount(mount) => mount.target.bytes(),
            Entry::Launch(bind) => bind.target.bytes(),
        };
        target.strip_prefix(b"/").unwrap_or(target)
    }

    /// Attributes and recursion of a bind; None: it is something else.
    fn bind(&self) -> Option<(u64, bool)> {
        let of_flags = |flags: u32| (bind_attributes(flags), flags & SBX_MOUNT_NONRECURSIVE == 0);
        match self {
            Entry::Launch(bind) => Some(of_flags(bind.flags)),
            Entry::Mount(mount) => match &mount.kind {
                MountKind::Bind { .. } => Some(of_flags(mount.flags)),
                MountKind::Raw { flags, .. } if flags & libc::MS_BIND != 0 => {
                    Some((raw_attributes(*flags), flags & libc::MS_REC != 0))
                }
                _ => None,
            },
        }
    }

    /// What the source is now. What it is decides what its target has to be; should it change until
    /// then, the mount fails: a file never covers a directory.
    fn look(&self) -> Look {
        match self {
            Entry::Mount(Mount { kind: MountKind::Bind { source }, .. })
            | Entry::Mount(Mount { kind: MountKind::Raw { source: Some(source), .. }, .. })
                if self.bind().is_some() =>
            {
                look(source.as_c_str())
            }
            _ => Look::NOTHING,
        }
    }

    fn open_source(&self, builder: &mut Builder, look: Look, recursive: bool) -> Result<Source> {
        match self {
            Entry::Launch(bind) => open_descriptor(builder, bind.fd, recursive),
            Entry::Mount(mount) => match &mount.kind {
                MountKind::Bind { source } | MountKind::Raw { source: Some(source), .. } => {
                    open_path(builder, source, look, recursive)
                }
                _ => Err(Error::invalid(format_args!("mount: a bind needs a source"))),
            },
        }
    }
}

/// Looks at every bind's source. True: one of them is the host's root. The new root will be attached
/// on top of that, and a copy that is made later would show it.
pub fn look_at_sources(runner: &Runner, launch: &Launch) -> Result<(Sources, bool)> {
    let root = look(c"/");
    let mut sources = Vec::new();
    let mut binds_the_root = false;
    for entry in entries(runner, launch) {
        let look = entry.look();
        binds_the_root |= look.is_same(&root);
        mem::push(&mut sources, Known { look, opened: None })?;
    }
    Ok((sources, binds_the_root))
}

/// Opens every bind's source now: after a change of the file system ids they could be out of reach.
pub fn open_sources(
    builder: &mut Builder,
    runner: &Runner,
    launch: &Launch,
    sources: &mut Sources,
) -> Result<()> {
    for (index, (entry, known)) in entries(runner, launch).zip(sources).enumerate() {
        let start = builder.position();
        if let Some((_, recursive)) = entry.bind() {
            known.opened = Some(entry.open_source(builder, known.look, recursive)?);
        }
        belongs_to(builder, start, index, entry.flags());
    }
    Ok(())
}

/// Steps that open or make something for an entry before its turn. If that fails for an optional one,
/// the entry's own steps will find no descriptor, and be skipped.
pub fn belongs_to(builder: &mut Builder, start: usize, index: usize, flags: u32) {
    for position in start..builder.position() {
        builder.step(position, |step| {
            step.index = index as i32;
            if flags & SBX_MOUNT_OPTIONAL != 0 {
                step.tolerate = ANY_ERRNO;
            }
        });
    }
}

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

fn read_only(flags: u32) -> u64 {
    if flags & SBX_MOUNT_WRITABLE == 0 { libc::MS_RDONLY } else { 0 }
}

/// What is forbidden unless a flag allows it, and what only a flag forbids.
fn restrictions(flags: u32, suid: u64, dev: u64, exec: u64) -> u64 {
    (if flags & SBX_MOUNT_SUID == 0 { suid } else { 0 })
        | (if flags & SBX_MOUNT_DEV == 0 { dev } else { 0 })
        | (if flags & SBX_MOUNT_NOEXEC != 0 { exec } else { 0 })
}

/// MS_* for what is mounted by mount(2).
fn ms_flags(flags: u32) -> u64 {
    restrictions(flags, libc::MS_NOSUID, libc::MS_NODEV, libc::MS_NOEXEC)
}

/// MOUNT_ATTR_* for a bind.
fn bind_attributes(flags: u32) -> u64 {
    restrictions(flags, attr::NOSUID, attr::NODEV, attr::NOEXEC)
        | if flags & SBX_MOUNT_WRITABLE == 0 { attr::RDONLY } else { 0 }
}

fn raw_attributes(flags: u64) -> u64 {
    [
        (libc::MS_RDONLY, attr::RDONLY),
        (libc::MS_NOSUID, attr::NOSUID),
        (libc::MS_NODEV, attr::NODEV),
        (libc::MS_NOEXEC, attr::NOEXEC),
    ]
    .iter()
    .filter(|(ms, _)| flags & ms != 0)
    .fold(0, |all, (_, attribute)| all | attribute)
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
    let want = if source.is_directory { Want::Directory(0o755) } else { Want::File };
    move_to(builder, tree, path, source.tree, want)
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
        let target = tree.open(builder, path, libc::O_PATH)?;
        let args = [source.into(), empty, target.into(), empty, (FROM_FD | TO_FD).into()];
        builder.call(location, libc::SYS_move_mount, &args)?;
        builder.close(location, target)?;
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

/// overlayfs options; a backslash keeps separators in names from being taken for such.
fn overlay_options(lower: &[Text], upper: Option<&(Text, Text)>) -> Result<Vec<u8>> {
    let mut options = mem::copy(b"lowerdir=".as_slice())?;
    for (n, path) in lower.iter().enumerate() {
        if n > 0 {
            mem::push(&mut options, b':')?;
        }
        escape(&mut options, path.bytes())?;
    }
    if let Some((upper, work)) = upper {
        mem::extend(&mut options, b",upperdir=")?;
        escape(&mut options, upper.bytes())?;
        mem::extend(&mut options, b",workdir=")?;
        escape(&mut options, work.bytes())?;
    }
    Ok(options)
}

fn escape(options: &mut Vec<u8>, path: &[u8]) -> Result<()> {
    for &byte in path {
        if matches!(byte, b':' | b',' | b'\\') {
            mem::push(options, b'\\')?;
        }
        mem::push(options, byte)?;
    }
    Ok(())
}
