//! Steps for symbolic links and for files with contents.

use super::builder::{Arg, Builder, Slot};
use super::mounts::{move_to, set_attributes};
use super::root::{OPEN_TREE_CLONE, attr};
use super::sources::Source;
use super::tree::{Tree, Want};
use crate::child::plan::op;
use crate::error::{Location, Result};
use crate::mem::{self, Text};

/// A link. In an existing root it stays there after the run, and the next start finds it: the same
/// text is as good as a new link, any other is an error.
pub fn symlink(builder: &mut Builder, tree: &mut Tree, path: &[u8], text: &Text) -> Result<()> {
    let place = tree.parent(builder, path)?;
    let location = Location::Symlink;
    let wanted = builder.text(text.bytes())?;
    let args = [wanted, place.directory.into(), place.name];
    let exists = builder.call(location, libc::SYS_symlinkat, &args)?.catch(libc::EEXIST as u16);
    let done = builder.add(op::JUMP, location, 0, &[])?.position();

    builder.land_here(exists);
    let len = text.bytes().len();
    // One byte more than wanted, so that a longer text is seen to be longer.
    let mut room = Vec::new();
    room.try_reserve_exact(len + 1).map_err(|_| mem::OutOfMemory)?;
    room.resize(len + 1, 0);
    let found = Arg::Data(builder.bytes(&room)?);
    let args = [place.directory.into(), place.name, found, (len + 1).into()];
    builder.call(location, libc::SYS_readlinkat, &args)?.expect(len as i32, libc::EEXIST);
    builder.add(op::COMPARE, location, 0, &[found, wanted, len.into()])?.expect(0, libc::EEXIST);
    builder.land_here(done);
    tree.leave(builder, place)?;
    tree.cover(path)
}

/// A file. On the plan's own tmpfs it is simply made; elsewhere it is a mount of a file that was made
/// before, so that nothing is written into somebody else's directory.
pub fn file(
    builder: &mut Builder,
    tree: &mut Tree,
    path: &[u8],
    (data, mode): (&[u8], u32),
    made: Option<Source>,
) -> Result<()> {
    if let Some(source) = made {
        let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV;
        set_attributes(builder, Location::File, source.tree, attributes, 0, 0)?;
        return move_to(builder, tree, path, source.tree, Want::File);
    }
    let place = tree.parent(builder, path)?;
    write_new(builder, place.directory, place.name, data, mode)?;
    tree.leave(builder, place)?;
    tree.cover(path)
}

/// A file on a tmpfs that will go, as a mount of its own.
pub fn detached_file(
    builder: &mut Builder,
    scratch: Slot,
    index: usize,
    data: &[u8],
    mode: u32,
) -> Result<Source> {
    let mut name = [0u8; 24];
    let name = mem::format_into(&mut name, format_args!("{index}"));
    let name = builder.text(name)?;
    write_new(builder, scratch, name, data, mode)?;
    let tree = builder.slot()?;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as u64;
    let args = [scratch.into(), name, flags.into()];
    builder.call(Location::File, libc::SYS_open_tree, &args)?.out(tree);
    Ok(Source { tree, is_directory: Some(false) })
}

fn write_new(
    builder: &mut Builder,
    directory: Slot,
    name: Arg,
    data: &[u8],
    mode: u32,
) -> Result<()> {
    let opened = builder.slot()?;
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let args = [directory.into(), name, flags.into(), mode.into()];
    builder.call(Location::File, libc::SYS_openat, &args)?.out(opened);
    if !data.is_empty() {
        let bytes = Arg::Data(builder.bytes(data)?);
        builder
            .call(Location::File, libc::SYS_write, &[opened.into(), bytes, data.len().into()])?
            .expect(data.len() as i32, libc::EIO);
    }
    builder.close(Location::File, opened)
}
