//! Steps for what is put into the new root.
//!
//! Sources are opened before targets, and both are handled by descriptor: what was opened is what
//! gets mounted. A target is resolved by the kernel inside the new root (openat2, RESOLVE_IN_ROOT,
//! no magic links), part by part, so that no symlink in a hostile root leads out; only where every
//! part of the way was made by this very plan, on its own tmpfs, is it named directly.

use core::ffi::c_int;

use super::builder::{Added, Arg, Builder, Slot};
use super::root::{AT_RECURSIVE, FROM_FD, OPEN_TREE_CLONE, TO_FD, attr};
use crate::child::plan::op;
use crate::error::{Error, Location, Result};
use crate::launch::{Launch, LaunchBind};
use crate::mem;
use crate::runner::{Mount, MountKind, Runner};

/// Bits of `Control::unenforced`: an optional entry was skipped.
pub const UNENFORCED: u64 = 4;

/// SBX_MOUNT_*.
pub mod flag {
    /// Not read-only.
    pub const WRITABLE: u32 = 1;
    /// Skipped if the kernel refuses it.
    pub const OPTIONAL: u32 = 2;
    /// Nothing in it can be executed.
    pub const NOEXEC: u32 = 4;
    /// setuid bits work.
    pub const SUID: u32 = 8;
    /// Device files work.
    pub const DEV: u32 = 16;
    /// Without submounts.
    pub const NONRECURSIVE: u32 = 32;
    /// With a devpts instance.
    pub const DEVPTS: u32 = 64;
    /// procfs shows other users' processes to nobody.
    pub const HIDEPID: u32 = 128;
}

/// RESOLVE_NO_MAGICLINKS | RESOLVE_IN_ROOT.
pub const RESOLVE_INSIDE: u64 = 0x02 | 0x10;

/// The new root as the plan knows it.
pub struct Tree {
    /// Its descriptor.
    top: Slot,
    /// Directories that this plan made on a tmpfs of its own, relative to the top: "usr/lib". The
    /// top itself is "" where it is fresh. Nobody else can have put a symlink there.
    made: Vec<mem::Text>,
    /// False while an optional entry is added: what may be skipped is not counted on.
    certain: bool,
}

impl Tree {
    /// A root; fresh: a tmpfs of this plan.
    pub fn new(top: Slot, fresh: bool) -> Tree {
        let mut made = Vec::new();
        if fresh {
            // An empty text takes one byte; without it the tree is only treated with more care.
            let _ = mem::Text::from_bytes(b"").and_then(|top| mem::push(&mut made, top));
        }
        Tree { top, made, certain: true }
    }

    fn has_made(&self, path: &[u8]) -> bool {
        self.made.iter().any(|made| made.bytes() == path)
    }

    fn remember(&mut self, path: &[u8]) -> Result<()> {
        if self.certain {
            mem::push(&mut self.made, mem::Text::from_bytes(path)?)?;
        }
        Ok(())
    }

    fn forget(&mut self, path: &[u8]) {
        self.made.retain(|made| {
            made.bytes() != path
                && !made.bytes().strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/"))
        });
    }
}

/// What a place in the tree is named by: directory and name, or an open descriptor and "".
struct Place {
    directory: Slot,
    name: Arg,
    owned: bool,
}

/// What a target has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Directory(u32),
    File,
}

/// Adds the runner's entries, then the launch's binds.
pub fn add(builder: &mut Builder, tree: &mut Tree, runner: &Runner, launch: &Launch) -> Result<()> {
    for (index, mount) in runner.mounts.iter().enumerate() {
        let start = builder.position();
        tree.certain = mount.flags & flag::OPTIONAL == 0;
        entry(builder, tree, mount, index).map_err(|error| error.index(index))?;
        set_index(builder, start, index);
        if mount.flags & flag::OPTIONAL != 0 {
            builder.skip_on_any_error(start, UNENFORCED);
        }
    }
    for (n, bind) in launch.binds.iter().enumerate() {
        let index = runner.mounts.len() + n;
        let start = builder.position();
        tree.certain = bind.flags & flag::OPTIONAL == 0;
        launch_bind(builder, tree, bind).map_err(|error| error.index(index))?;
        set_index(builder, start, index);
        if bind.flags & flag::OPTIONAL != 0 {
            builder.skip_on_any_error(start, UNENFORCED);
        }
    }
    Ok(())
}

fn set_index(builder: &mut Builder, start: usize, index: usize) {
    for position in start..builder.position() {
        builder.step(position, |step| step.index = index as i32);
    }
}

fn entry(builder: &mut Builder, tree: &mut Tree, mount: &Mount, index: usize) -> Result<()> {
    let path = mount.target.bytes().strip_prefix(b"/").unwrap_or(mount.target.bytes());
    if path.is_empty() {
        return Err(Error::invalid(format_args!("mount: the root itself cannot be a target")));
    }
    match &mount.kind {
        MountKind::Bind { source } => bind_path(
            builder,
            tree,
            path,
            source,
            bind_attributes(mount.flags),
            mount.flags & flag::NONRECURSIVE == 0,
        ),
        MountKind::Raw { source: Some(source), flags, .. } if flags & libc::MS_BIND != 0 => {
            bind_path(
                builder,
                tree,
                path,
                source,
                raw_attributes(*flags),
                flags & libc::MS_REC != 0,
            )
        }
        MountKind::Raw { source, fstype, flags, data } => {
            let name = |builder: &mut Builder, text: &Option<mem::Text>| {
                text.as_ref().map_or(Ok(0.into()), |text| builder.text(text.bytes()))
            };
            let (source, fstype, data) =
                (name(builder, source)?, name(builder, fstype)?, name(builder, data)?);
            mount_at(builder, tree, path, [source, fstype, (*flags).into(), data])
        }
        MountKind::Tmpfs { bytes, inodes, mode } => {
            tmpfs(builder, tree, path, (*bytes, *inodes, *mode), mount.flags)
        }
        MountKind::Proc => {
            let hide = if mount.flags & flag::HIDEPID != 0 {
                builder.cstr(c"hidepid=2")?
            } else {
                0.into()
            };
            let proc = builder.cstr(c"proc")?;
            let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | read_only(mount.flags);
            mount_at(builder, tree, path, [proc, proc, flags.into(), hide])
        }
        MountKind::Dev => super::dev::add(builder, tree, path, mount.flags),
        MountKind::Overlay { lower, upper } => {
            let options = overlay_options(lower, upper.as_ref())?;
            let (overlay, options) = (builder.cstr(c"overlay")?, builder.text(&options)?);
            let flags = ms_flags(mount.flags) | read_only(mount.flags);
            mount_at(builder, tree, path, [overlay, overlay, flags.into(), options])
        }
        MountKind::Symlink { text } => {
            let place = parent(builder, tree, path)?;
            let text = builder.text(text.bytes())?;
            builder.call(
                Location::Symlink,
                libc::SYS_symlinkat,
                &[text, place.directory.into(), place.name],
            )?;
            leave(builder, tree, place)
        }
        MountKind::File { data, mode } => file(builder, tree, path, data, *mode),
        MountKind::Dir { mode } => {
            let place = make(builder, tree, path, Want::Directory(*mode))?;
            leave(builder, tree, place)
        }
        MountKind::Mask => mask(builder, tree, path, index),
    }
}

fn read_only(flags: u32) -> u64 {
    if flags & flag::WRITABLE == 0 { libc::MS_RDONLY } else { 0 }
}

/// MS_* for what is mounted by mount(2).
fn ms_flags(flags: u32) -> u64 {
    let set = |bit: u32, value: u64, when_set: bool| {
        if (flags & bit != 0) == when_set { value } else { 0 }
    };
    set(flag::SUID, libc::MS_NOSUID, false)
        | set(flag::DEV, libc::MS_NODEV, false)
        | set(flag::NOEXEC, libc::MS_NOEXEC, true)
}

/// MOUNT_ATTR_* for a bind.
fn bind_attributes(flags: u32) -> u64 {
    let set = |bit: u32, value: u64, when_set: bool| {
        if (flags & bit != 0) == when_set { value } else { 0 }
    };
    set(flag::WRITABLE, attr::RDONLY, false)
        | set(flag::SUID, attr::NOSUID, false)
        | set(flag::DEV, attr::NODEV, false)
        | set(flag::NOEXEC, attr::NOEXEC, true)
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

/// A file or directory of the host.
fn bind_path(
    builder: &mut Builder,
    tree: &mut Tree,
    path: &[u8],
    source: &mem::Text,
    attributes: u64,
    recursive: bool,
) -> Result<()> {
    let name = builder.text(source.bytes())?;
    let tree_flags =
        OPEN_TREE_CLONE | libc::O_CLOEXEC as u64 | if recursive { AT_RECURSIVE } else { 0 };
    let opened = builder.slot()?;
    builder
        .call(
            Location::MountSource,
            libc::SYS_open_tree,
            &[libc::AT_FDCWD.into(), name, tree_flags.into()],
        )?
        .out(opened);
    // What the source is decides what its target has to be. Should it change until then, the mount
    // fails: a file never covers a directory.
    let want = if is_directory(|stat| {
        // SAFETY: a C string and a place for the answer.
        unsafe { libc::stat(source.as_ptr(), stat) }
    }) {
        Want::Directory(0o755)
    } else {
        Want::File
    };
    place_tree(builder, tree, path, opened, want, attributes, recursive)
}

/// What an open descriptor of the host stands for. A mount can only be copied from the mount
/// namespace it is in, and the descriptor's is the host's: so its name is opened anew in here, and
/// must lead to the same inode.
fn launch_bind(builder: &mut Builder, tree: &mut Tree, bind: &LaunchBind) -> Result<()> {
    let path = bind.target.bytes().strip_prefix(b"/").unwrap_or(bind.target.bytes());
    let mut link = [0u8; 32];
    let link = mem::format_into(&mut link, format_args!("/proc/self/fd/{}\0", bind.fd));
    let mut name = [0u8; libc::PATH_MAX as usize];
    // SAFETY: a NUL-terminated path, and a buffer with its size.
    let len = unsafe { libc::readlink(link.as_ptr().cast(), name.as_mut_ptr().cast(), name.len()) };
    // SAFETY: all zero is a valid stat; fstat fills it.
    let mut expected: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: a descriptor and a place for the answer.
    if len <= 0 || unsafe { libc::fstat(bind.fd, &mut expected) } != 0 || name[0] != b'/' {
        return Err(Error::invalid(format_args!(
            "binds: descriptor {} has no name to mount it by",
            bind.fd
        )));
    }
    let name = builder.text(&name[..len as usize])?;
    let opened = builder.slot()?;
    let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    builder
        .call(
            Location::MountSource,
            libc::SYS_openat,
            &[libc::AT_FDCWD.into(), name, flags.into(), 0.into()],
        )?
        .out(opened);
    // struct stat begins with device and inode: 16 bytes on every 64-bit Linux.
    const {
        assert!(
            core::mem::offset_of!(libc::stat, st_dev) == 0
                && core::mem::offset_of!(libc::stat, st_ino) == 8
        )
    };
    let expected_id = builder.words(&[expected.st_dev, expected.st_ino])?;
    let found = builder.words(&[0; size_of::<libc::stat>() / 8])?;
    builder.call(Location::MountSource, libc::SYS_fstat, &[opened.into(), Arg::Data(found)])?;
    builder
        .add(
            op::COMPARE,
            Location::MountSource,
            0,
            &[Arg::Data(found), Arg::Data(expected_id), 16.into()],
        )?
        .expect(0, libc::ESTALE);

    let recursive = bind.flags & flag::NONRECURSIVE == 0;
    let tree_flags = OPEN_TREE_CLONE
        | libc::O_CLOEXEC as u64
        | libc::AT_EMPTY_PATH as u64
        | if recursive { AT_RECURSIVE } else { 0 };
    let source = builder.slot()?;
    let empty = builder.cstr(c"")?;
    builder
        .call(
            Location::MountSource,
            libc::SYS_open_tree,
            &[opened.into(), empty, tree_flags.into()],
        )?
        .out(source);
    builder.close(Location::MountSource, opened)?;
    let want = if expected.st_mode & libc::S_IFMT == libc::S_IFDIR {
        Want::Directory(0o755)
    } else {
        Want::File
    };
    place_tree(builder, tree, path, source, want, bind_attributes(bind.flags), recursive)
}

fn is_directory(stat: impl Fn(*mut libc::stat) -> c_int) -> bool {
    // SAFETY: all zero is a valid stat.
    let mut found: libc::stat = unsafe { core::mem::zeroed() };
    // A missing source is reported by the child, at the step that opens it.
    stat(&mut found) != 0 || found.st_mode & libc::S_IFMT == libc::S_IFDIR
}

/// Sets a detached tree's attributes, makes its target and moves it there.
fn place_tree(
    builder: &mut Builder,
    tree: &mut Tree,
    path: &[u8],
    source: Slot,
    want: Want,
    attributes: u64,
    recursive: bool,
) -> Result<()> {
    if attributes != 0 {
        set_attributes(
            builder,
            Location::MountAttr,
            source,
            attributes,
            0,
            if recursive { AT_RECURSIVE } else { 0 },
        )?;
    }
    let place = make(builder, tree, path, want)?;
    move_to(builder, tree, path, source, place)
}

/// Moves a detached tree to its place.
fn move_to(
    builder: &mut Builder,
    tree: &mut Tree,
    path: &[u8],
    source: Slot,
    place: Place,
) -> Result<()> {
    let empty = builder.cstr(c"")?;
    if place.owned {
        builder.call(
            Location::Mount,
            libc::SYS_move_mount,
            &[source.into(), empty, place.directory.into(), place.name, FROM_FD.into()],
        )?;
    } else {
        let target = open_inside(builder, tree, path, libc::O_PATH)?;
        builder.call(
            Location::Mount,
            libc::SYS_move_mount,
            &[source.into(), empty, target.into(), empty, (FROM_FD | TO_FD).into()],
        )?;
        builder.close(Location::Mount, target)?;
    }
    leave(builder, tree, place)?;
    tree.forget(path);
    builder.close(Location::Mount, source)
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
    let attributes = builder.words(&[set, clear, 0, 0])?;
    let empty = builder.cstr(c"")?;
    builder.call(
        location,
        libc::SYS_mount_setattr,
        &[
            mount.into(),
            empty,
            (libc::AT_EMPTY_PATH as u64 | flags).into(),
            Arg::Data(attributes),
            32.into(),
        ],
    )
}

/// mount(2) on a directory, which is entered for it: a path could be changed under it, "." cannot.
pub fn mount_at(
    builder: &mut Builder,
    tree: &mut Tree,
    path: &[u8],
    [source, fstype, flags, data]: [Arg; 4],
) -> Result<()> {
    let place = make(builder, tree, path, Want::Directory(0o755))?;
    leave(builder, tree, place)?;
    let target = open_inside(builder, tree, path, libc::O_PATH | libc::O_DIRECTORY)?;
    let dot = builder.cstr(c".")?;
    builder.call(Location::MountTarget, libc::SYS_fchdir, &[target.into()])?;
    builder.call(Location::Mount, libc::SYS_mount, &[source, dot, fstype, flags, data])?;
    tree.forget(path);
    builder.close(Location::Mount, target)
}

fn tmpfs(
    builder: &mut Builder,
    tree: &mut Tree,
    path: &[u8],
    (bytes, inodes, mode): (u64, u64, u32),
    flags: u32,
) -> Result<()> {
    let mut options = [0u8; 96];
    let options = match (bytes, inodes) {
        (0, 0) => mem::format_into(&mut options, format_args!("mode={mode:o}")),
        (_, 0) => mem::format_into(&mut options, format_args!("mode={mode:o},size={bytes}")),
        (0, _) => mem::format_into(&mut options, format_args!("mode={mode:o},nr_inodes={inodes}")),
        _ => mem::format_into(
            &mut options,
            format_args!("mode={mode:o},size={bytes},nr_inodes={inodes}"),
        ),
    };
    let (tmpfs, options) = (builder.cstr(c"tmpfs")?, builder.text(options)?);
    mount_at(builder, tree, path, [tmpfs, tmpfs, ms_flags(flags).into(), options])?;
    tree.remember(path)
}

fn file(builder: &mut Builder, tree: &mut Tree, path: &[u8], data: &[u8], mode: u32) -> Result<()> {
    let place = parent(builder, tree, path)?;
    let opened = builder.slot()?;
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    builder
        .call(
            Location::File,
            libc::SYS_openat,
            &[place.directory.into(), place.name, flags.into(), mode.into()],
        )?
        .out(opened);
    if !data.is_empty() {
        let bytes = builder.bytes(data)?;
        builder
            .call(
                Location::File,
                libc::SYS_write,
                &[opened.into(), Arg::Data(bytes), data.len().into()],
            )?
            .expect(data.len() as c_int, libc::EIO);
    }
    builder.close(Location::File, opened)?;
    leave(builder, tree, place)
}

/// Hides a directory under an empty read-only tmpfs, anything else under /dev/null.
fn mask(builder: &mut Builder, tree: &mut Tree, path: &[u8], index: usize) -> Result<()> {
    let name = builder.text(path)?;
    let how = open_how(builder, libc::O_PATH | libc::O_DIRECTORY)?;
    let directory = builder.slot()?;
    let branch = builder
        .call(Location::Mask, libc::SYS_openat2, &[tree.top.into(), name, how, 24.into()])?
        .index(index)
        .out(directory)
        .catch(libc::ENOTDIR as u16);
    let (tmpfs, dot, options) =
        (builder.cstr(c"tmpfs")?, builder.cstr(c".")?, builder.cstr(c"mode=555,nr_inodes=1")?);
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    builder.call(Location::Mask, libc::SYS_fchdir, &[directory.into()])?;
    builder.call(Location::Mask, libc::SYS_mount, &[tmpfs, dot, tmpfs, flags.into(), options])?;
    builder.close(Location::Mask, directory)?;
    let jump = builder.add(op::JUMP, Location::Mask, 0, &[])?.position();

    builder.land_here(branch);
    let null = builder.cstr(c"/dev/null")?;
    let source = builder.slot()?;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as u64;
    builder
        .call(Location::Mask, libc::SYS_open_tree, &[libc::AT_FDCWD.into(), null, flags.into()])?
        .out(source);
    let target = open_inside(builder, tree, path, libc::O_PATH)?;
    let empty = builder.cstr(c"")?;
    builder.call(
        Location::Mask,
        libc::SYS_move_mount,
        &[source.into(), empty, target.into(), empty, (FROM_FD | TO_FD).into()],
    )?;
    builder.close(Location::Mask, target)?;
    builder.close(Location::Mask, source)?;
    builder.land_here(jump);
    tree.forget(path);
    Ok(())
}

/// Opens a path of the new root, resolved inside it.
fn open_inside(builder: &mut Builder, tree: &Tree, path: &[u8], flags: c_int) -> Result<Slot> {
    let name = builder.text(path)?;
    let how = open_how(builder, flags)?;
    let opened = builder.slot()?;
    builder
        .call(Location::MountTarget, libc::SYS_openat2, &[tree.top.into(), name, how, 24.into()])?
        .out(opened);
    Ok(opened)
}

/// struct open_how: flags, mode, resolve.
pub fn open_how(builder: &mut Builder, flags: c_int) -> Result<Arg> {
    Ok(Arg::Data(builder.words(&[(flags | libc::O_CLOEXEC) as u64, 0, RESOLVE_INSIDE])?))
}

/// Makes the directories above a target: where the last name is to be made.
fn parent(builder: &mut Builder, tree: &mut Tree, path: &[u8]) -> Result<Place> {
    let above =
        path.iter().rposition(|&byte| byte == b'/').map_or(&path[..0], |slash| &path[..slash]);
    if !above.is_empty() {
        let place = make(builder, tree, above, Want::Directory(0o755))?;
        leave(builder, tree, place)?;
    }
    if tree.has_made(above) {
        return Ok(Place { directory: tree.top, name: builder.text(path)?, owned: true });
    }
    let name = if above.is_empty() { path } else { &path[above.len() + 1..] };
    let directory = if above.is_empty() {
        tree.top
    } else {
        open_inside(builder, tree, above, libc::O_PATH | libc::O_DIRECTORY)?
    };
    Ok(Place { directory, name: builder.text(name)?, owned: false })
}

/// Makes a target unless it is there, and all directories above it.
fn make(builder: &mut Builder, tree: &mut Tree, path: &[u8], want: Want) -> Result<Place> {
    if want != Want::File && tree.has_made(path) {
        return Ok(Place { directory: tree.top, name: builder.text(path)?, owned: true });
    }
    let place = parent(builder, tree, path)?;
    match want {
        Want::Directory(mode) => builder.call(
            Location::MountTarget,
            libc::SYS_mkdirat,
            &[place.directory.into(), place.name, mode.into()],
        )?,
        // mknod makes a regular file without opening it, and says EEXIST before it says EROFS.
        Want::File => builder.call(
            Location::MountTarget,
            libc::SYS_mknodat,
            &[place.directory.into(), place.name, (libc::S_IFREG | 0o644).into(), 0.into()],
        )?,
    }
    .tolerate(libc::EEXIST);
    if place.owned && want != Want::File {
        tree.remember(path)?;
    }
    Ok(place)
}

/// Closes what a place holds open.
fn leave(builder: &mut Builder, tree: &Tree, place: Place) -> Result<()> {
    if place.directory != tree.top {
        builder.close(Location::MountTarget, place.directory)
    } else {
        Ok(())
    }
}

/// overlayfs options; a backslash keeps separators in names from being taken for such.
fn overlay_options(lower: &[mem::Text], upper: Option<&(mem::Text, mem::Text)>) -> Result<Vec<u8>> {
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

/// Opens the directory that a path of the tree is now, for more entries beneath it.
pub fn open_made(builder: &mut Builder, tree: &Tree, path: &[u8]) -> Result<Slot> {
    open_inside(builder, tree, path, libc::O_PATH | libc::O_DIRECTORY)
}
