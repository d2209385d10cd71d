//! What is put into the new root, in order: the runner's entries, then the launch's binds; and what is
//! known or opened of each before its turn.

use super::builder::Builder;
use super::mount_flags::{bind_attributes, raw_attributes};
use super::sources::{Look, Patience, Source, look, open_descriptor, open_path};
use crate::child::plan::ANY_ERRNO;
use crate::error::{Error, Result};
use crate::flags::*;
use crate::launch::{Launch, LaunchBind};
use crate::mem;
use crate::runner::{Mount, MountKind, Runner};

/// What is known of the entries before the root is made, by entry.
pub type Sources = Vec<Known>;

/// What is known of an entry.
#[derive(Clone, Copy)]
pub struct Known {
    /// What a bind's source is.
    pub look: Look,
    /// A source that was opened, or a file that was made, ahead of its turn.
    pub opened: Option<Source>,
}

impl Known {
    /// Nothing.
    pub const NOTHING: Known = Known { look: Look::NOTHING, opened: None };
}

/// Something to be put into the root: the runner's, or the launch's.
pub enum Entry<'a> {
    /// The runner's.
    Mount(&'a Mount),
    /// The launch's.
    Launch(&'a LaunchBind),
}

/// All of them.
pub fn entries<'a>(runner: &'a Runner, launch: &'a Launch) -> impl Iterator<Item = Entry<'a>> {
    runner.mounts.iter().map(Entry::Mount).chain(launch.binds.iter().map(Entry::Launch))
}

impl Entry<'_> {
    /// SBX_MOUNT_*.
    pub fn flags(&self) -> u32 {
        match self {
            Entry::Mount(mount) => mount.flags,
            Entry::Launch(bind) => bind.flags,
        }
    }

    /// The target, relative to the root.
    pub fn path(&self) -> &[u8] {
        let target = match self {
            Entry::Mount(mount) => mount.target.bytes(),
            Entry::Launch(bind) => bind.target.bytes(),
        };
        target.strip_prefix(b"/").unwrap_or(target)
    }

    /// Attributes and recursion of a bind; None: it is something else.
    pub fn bind(&self) -> Option<(u64, bool)> {
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
    pub fn look(&self, patience: Patience) -> Look {
        match self {
            Entry::Mount(Mount { kind: MountKind::Bind { source }, .. })
            | Entry::Mount(Mount { kind: MountKind::Raw { source: Some(source), .. }, .. })
                if self.bind().is_some() =>
            {
                look(source.as_c_str(), patience)
            }
            _ => Look::NOTHING,
        }
    }

    /// Adds the steps that open a bind's source.
    pub fn open_source(
        &self,
        builder: &mut Builder,
        look: Look,
        recursive: bool,
    ) -> Result<Source> {
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
pub fn look_at_sources(
    runner: &Runner,
    launch: &Launch,
    patience: Patience,
) -> Result<(Sources, bool)> {
    let root = look(c"/", patience);
    let mut sources = Vec::new();
    let mut binds_the_root = false;
    for entry in entries(runner, launch) {
        let look = entry.look(patience);
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
