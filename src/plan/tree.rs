//! Targets in the new root: making them, and naming them so that nothing leads out.
//!
//! A root may be hostile: full of symlinks to places of the host, or changed by somebody while the
//! plan runs. So a target is resolved by the kernel inside the root (openat2, RESOLVE_IN_ROOT, no
//! magic links), part by part. Only where every part of the way was made by this very plan, on a
//! tmpfs that nobody else has, is it named directly: that saves half of the system calls of a start.

use core::ffi::c_int;

use super::builder::{Arg, Builder, Slot};
use crate::error::{Location, Result};
use crate::mem::{self, Text};

/// RESOLVE_NO_MAGICLINKS | RESOLVE_IN_ROOT.
pub const RESOLVE_INSIDE: u64 = 0x02 | 0x10;

/// The new root as the plan knows it.
pub struct Tree {
    /// Its descriptor.
    pub top: Slot,
    /// The host's own root: targets must be there, nothing is made in it.
    pub is_hosts: bool,
    /// False while an optional entry is added: what may be skipped is not counted on.
    pub certain: bool,
    /// The work directory is the root: names can be given to mount(2) as they are.
    pub entered: bool,
    /// What is where, relative to the top: "usr/lib". What is not listed is not known.
    known: Vec<(Text, Kind)>,
}

/// What is known of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A directory that this plan made on a tmpfs of its own.
    Ours,
    /// A mount, a link, a file: names beneath it are somebody else's.
    Foreign,
}

/// A place in the tree: a directory, and a name in it.
pub struct Place {
    /// The root itself, or a descriptor that `leave` closes.
    pub directory: Slot,
    /// The name; from the top if the place is ours.
    pub name: Arg,
    /// Every part of the way was made by this plan.
    pub ours: bool,
}

/// What a target has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// A directory, with its mode.
    Directory(u32),
    /// An empty file.
    File,
}

impl Tree {
    /// A root; fresh: a tmpfs of this plan.
    pub fn new(top: Slot, fresh: bool) -> Result<Tree> {
        let mut known = Vec::new();
        if fresh {
            mem::push(&mut known, (Text::from_bytes(b"")?, Kind::Ours))?;
        }
        Ok(Tree { top, is_hosts: false, certain: true, entered: false, known })
    }

    fn kind(&self, path: &[u8]) -> Option<Kind> {
        self.known.iter().find(|(known, _)| known.bytes() == path).map(|(_, kind)| *kind)
    }

    fn is_ours(&self, path: &[u8]) -> bool {
        self.kind(path) == Some(Kind::Ours)
    }

    /// True if the way to a path is all ours, or will be once it is made, and so will be the path.
    pub fn leads_to(&self, path: &[u8]) -> bool {
        if self.kind(path) == Some(Kind::Foreign) || !self.is_ours(b"") {
            return false;
        }
        let mut above = path;
        while let Some(slash) = above.iter().rposition(|&byte| byte == b'/') {
            above = &above[..slash];
            if self.kind(above) == Some(Kind::Foreign) {
                return false;
            }
        }
        true
    }

    /// Something was put at a path; names beneath it mean something else now.
    pub fn cover(&mut self, path: &[u8]) -> Result<()> {
        self.set(path, Kind::Foreign)
    }

    /// A tmpfs of this plan was mounted at a path, which is ours if its mount point was.
    pub fn cover_with_own(&mut self, path: &[u8]) -> Result<()> {
        let ours = self.certain && self.is_ours(path);
        self.set(path, if ours { Kind::Ours } else { Kind::Foreign })
    }

    fn set(&mut self, path: &[u8], kind: Kind) -> Result<()> {
        self.known.retain(|(known, _)| {
            let beneath = known.bytes().strip_prefix(path);
            !beneath.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        });
        Ok(mem::push(&mut self.known, (Text::from_bytes(path)?, kind))?)
    }

    /// Enters the root, for calls that take no directory.
    pub fn enter(&mut self, builder: &mut Builder, location: Location) -> Result<()> {
        if !self.entered {
            builder.call(location, libc::SYS_fchdir, &[self.top.into()])?;
            // What an optional entry does may be skipped.
            self.entered = self.certain;
        }
        Ok(())
    }

    /// Opens a path, resolved inside the root.
    pub fn open(&self, builder: &mut Builder, path: &[u8], flags: c_int) -> Result<Slot> {
        let name = builder.text(path)?;
        let how = open_how(builder, flags)?;
        let opened = builder.slot()?;
        builder
            .call(
                Location::MountTarget,
                libc::SYS_openat2,
                &[self.top.into(), name, how, 24.into()],
            )?
            .out(opened);
        Ok(opened)
    }

    /// Makes the directories above a target: where its own name is to be made.
    pub fn parent(&mut self, builder: &mut Builder, path: &[u8]) -> Result<Place> {
        let slash = path.iter().rposition(|&byte| byte == b'/');
        let above = slash.map_or(&path[..0], |slash| &path[..slash]);
        if !above.is_empty() {
            let place = self.make(builder, above, Want::Directory(0o755))?;
            self.leave(builder, place)?;
        }
        if self.is_ours(above) {
            return Ok(Place { directory: self.top, name: builder.text(path)?, ours: true });
        }
        let name = slash.map_or(path, |slash| &path[slash + 1..]);
        let directory = if above.is_empty() {
            self.top
        } else {
            self.open(builder, above, libc::O_PATH | libc::O_DIRECTORY)?
        };
        Ok(Place { directory, name: builder.text(name)?, ours: false })
    }

    /// Makes a target unless it is there, and all directories above it.
    pub fn make(&mut self, builder: &mut Builder, path: &[u8], want: Want) -> Result<Place> {
        if want != Want::File && self.is_ours(path) {
            return Ok(Place { directory: self.top, name: builder.text(path)?, ours: true });
        }
        if self.is_hosts {
            return Ok(Place { directory: self.top, name: builder.text(path)?, ours: false });
        }
        let place = self.parent(builder, path)?;
        let (directory, name) = (place.directory.into(), place.name);
        let location = Location::MountTarget;
        match want {
            Want::Directory(mode) => {
                builder.call(location, libc::SYS_mkdirat, &[directory, name, mode.into()])?
            }
            // mknod makes a regular file without opening it, and says EEXIST before it says EROFS.
            Want::File => {
                let mode = Arg::from(libc::S_IFREG | 0o644);
                builder.call(location, libc::SYS_mknodat, &[directory, name, mode, 0.into()])?
            }
        }
        .tolerate(libc::EEXIST);
        if want != Want::File && place.ours && self.certain && self.kind(path).is_none() {
            self.set(path, Kind::Ours)?;
        }
        // What was there already may be a link that the plan itself made.
        let ours = place.ours && self.kind(path) != Some(Kind::Foreign);
        Ok(Place { ours, ..place })
    }

    /// Closes what a place holds open.
    pub fn leave(&self, builder: &mut Builder, place: Place) -> Result<()> {
        if place.directory == self.top {
            return Ok(());
        }
        builder.close(Location::MountTarget, place.directory)
    }
}

/// struct open_how: flags, mode, resolve.
pub fn open_how(builder: &mut Builder, flags: c_int) -> Result<Arg> {
    Ok(Arg::Data(builder.words(&[(flags | libc::O_CLOEXEC) as u64, 0, RESOLVE_INSIDE])?))
}
