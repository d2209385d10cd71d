//! A runner: the recipe of a sandbox, as the setters leave it and as the plan builder reads it.
//!
//! This file holds the data; the setters stand beside it, one file per theme. They check each value
//! alone. What only makes sense together is checked when a plan is built (src/plan/check.rs),
//! because the order in which a caller sets things is free.

use core::ffi::{c_int, c_void};

use crate::mem::Text;

mod clone;
pub(crate) mod identity;
pub(crate) mod mounts;
pub(crate) mod process;
pub(crate) mod program;
mod raw_mount;
pub(crate) mod restrict;
pub(crate) mod valid;

/// Called on the thread inside `sbx_start`, right before the program's exec, with the program's pid
/// and pidfd and the launch's argument. Anything but 0 ends the start.
pub type SyncFunc = unsafe extern "C" fn(pid: c_int, pidfd: c_int, arg: *mut c_void) -> c_int;

/// The recipe. Empty means: run argv[0] as a plain child, /dev/null as its standard streams.
#[derive(Default)]
pub struct Runner {
    // The program.
    /// argv; empty: not set.
    pub args: Vec<Text>,
    /// The environment.
    pub env: Vec<Text>,
    /// The program's path inside the new root; None: argv[0].
    pub exec_path: Option<Text>,
    /// The program as an open file.
    pub exec_fd: Option<c_int>,
    /// Where the program starts.
    pub workdir: Option<Text>,
    /// Which of the host's descriptors the program gets; child_fd is unique.
    pub fds: Vec<FdMap>,
    /// The controlling terminal.
    pub ctty: Option<c_int>,

    // What belongs to the process.
    /// Resource limits, each resource at most once.
    pub rlimits: Vec<Rlimit>,
    /// umask; None: the host's.
    pub umask: Option<u32>,
    /// CPUs, as the bytes of a cpu_set_t.
    pub affinity: Option<Vec<u8>>,
    /// Nice value.
    pub nice: Option<i32>,
    /// Scheduling policy.
    pub scheduler: Option<Scheduler>,
    /// oom_score_adj.
    pub oom_score_adj: Option<i32>,
    /// No address space randomisation.
    pub no_aslr: bool,
    /// The signal the program gets when its parent dies.
    pub pdeathsig: Option<c_int>,
    /// A session of its own.
    pub setsid: bool,
    /// A session keyring of its own.
    pub session_keyring: bool,

    // Namespaces and identity.
    /// New namespaces: CLONE_NEW* bits.
    pub namespaces: u64,
    /// Existing namespaces, each type at most once.
    pub joined: Vec<JoinedNamespace>,
    /// Clock offsets, each clock at most once.
    pub time_offsets: Vec<TimeOffset>,
    /// uid map.
    pub uid_map: Vec<IdMap>,
    /// gid map.
    pub gid_map: Vec<IdMap>,
    /// setgroups(2) in the new user namespace; None: allowed only where it is needed and possible.
    pub setgroups: Option<bool>,
    /// Who the program is.
    pub credential: Option<Credential>,
    /// no_new_privs.
    pub no_new_privs: bool,
    /// The capabilities to keep, in every set; None: capabilities are left alone.
    pub caps: Option<u64>,
    /// Host name.
    pub hostname: Option<Text>,
    /// NIS domain name.
    pub domainname: Option<Text>,
    /// Bring lo up.
    pub loopback: bool,

    // cgroups.
    /// Directories of the cgroups to join.
    pub cgroup_fds: Vec<c_int>,
    /// Unshare the cgroup namespace after the sync function instead of at clone.
    pub unshare_cgroup_after_sync: bool,

    // Root and mounts.
    /// The new root.
    pub root: Option<Root>,
    /// What is put into it, in order.
    pub mounts: Vec<Mount>,

    // What restricts the program.
    /// Landlock.
    pub landlock: Landlock,
    /// seccomp filters, in the order in which they are loaded.
    pub filters: Vec<Filter>,

    // How the start goes.
    /// The caller's function before exec.
    pub sync_func: Option<SyncFunc>,
    /// Seize the child and stop it before its filter.
    pub ptrace: bool,
    /// Let the child stop itself before its filter.
    pub stop_before_seccomp: bool,
    /// An init in front of the program; None: with a pid namespace.
    pub init: Option<bool>,
    /// At least the staged shape.
    pub staged: bool,

    /// Memory that starts reuse; no part of the recipe.
    pub spare: crate::start::arena::Spare,
}

/// One entry of the fd map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdMap {
    /// The host's descriptor; -1: `child_fd` is closed.
    pub fd: c_int,
    /// Its number in the child.
    pub child_fd: c_int,
}

/// One resource limit.
#[derive(Debug, Clone, Copy)]
pub struct Rlimit {
    /// RLIMIT_*.
    pub resource: u32,
    /// Soft limit; u64::MAX is RLIM_INFINITY.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Scheduling policy and real-time priority.
#[derive(Debug, Clone, Copy)]
pub struct Scheduler {
    /// SCHED_*.
    pub policy: c_int,
    /// 1..99 for SCHED_FIFO and SCHED_RR, 0 for the others.
    pub priority: c_int,
}

/// A namespace that exists already.
#[derive(Debug, Clone, Copy)]
pub struct JoinedNamespace {
    /// A descriptor of it (/proc/PID/ns/...).
    pub fd: c_int,
    /// One CLONE_NEW* bit.
    pub kind: u64,
}

/// What a clock of the new time namespace is ahead of the host's.
#[derive(Debug, Clone, Copy)]
pub struct TimeOffset {
    /// CLOCK_MONOTONIC or CLOCK_BOOTTIME.
    pub clock: c_int,
    /// Seconds, may be negative.
    pub seconds: i64,
    /// Nanoseconds, 0 to 999 999 999.
    pub nanoseconds: i64,
}

/// A range of a user namespace's id map.
#[derive(Debug, Clone, Copy)]
pub struct IdMap {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many; never 0, and neither range reaches u32::MAX.
    pub count: u32,
}

impl IdMap {
    /// The outside id of one that is inside.
    pub fn to_outside(map: &[IdMap], id: u32) -> Option<u32> {
        let range = map.iter().find(|range| id.wrapping_sub(range.inside) < range.count)?;
        Some(range.outside + (id - range.inside))
    }

    /// The inside id of one that is outside.
    pub fn to_inside(map: &[IdMap], id: u32) -> Option<u32> {
        let range = map.iter().find(|range| id.wrapping_sub(range.outside) < range.count)?;
        Some(range.inside + (id - range.outside))
    }
}

/// Who the program is, in the ids of its own user namespace.
#[derive(Debug)]
pub struct Credential {
    /// Real, effective and saved uid.
    pub uid: u32,
    /// Real, effective and saved gid.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// How the new root is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootKind {
    /// pivot_root(2): the old root is gone from the mount namespace.
    Pivot,
    /// chroot(2).
    Chroot,
}

/// The new root.
#[derive(Debug)]
pub struct Root {
    /// How it is entered.
    pub kind: RootKind,
    /// An existing tree; None: a fresh tmpfs.
    pub path: Option<Text>,
    /// Not sealed read-only at the end.
    pub writable: bool,
}

/// Something put into the new root.
#[derive(Debug)]
pub struct Mount {
    /// Absolute path inside the new root: normalised (one slash between parts, no ".", no "..", no
    /// slash at the end), and never "/".
    pub target: Text,
    /// SBX_MOUNT_* bits that apply to this kind, checked.
    pub flags: u32,
    /// What it is.
    pub kind: MountKind,
}

/// What is put there.
#[derive(Debug)]
pub enum MountKind {
    /// mount(2), as the caller says.
    Raw {
        /// Device, directory or word.
        source: Option<Text>,
        /// File system.
        fstype: Option<Text>,
        /// MS_* bits.
        flags: u64,
        /// Options.
        data: Option<Text>,
    },
    /// A file or directory of the host.
    Bind {
        /// Absolute path on the host.
        source: Text,
    },
    /// tmpfs.
    Tmpfs {
        /// Size limit; 0: the kernel's.
        bytes: u64,
        /// Inode limit; 0: the kernel's.
        inodes: u64,
        /// Mode of its root.
        mode: u32,
    },
    /// procfs of the sandbox's pid namespace.
    Proc,
    /// A minimal /dev.
    Dev,
    /// overlayfs.
    Overlay {
        /// Lower directories, topmost first.
        lower: Vec<Text>,
        /// Upper and work directory; None: read-only.
        upper: Option<(Text, Text)>,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points.
        text: Text,
    },
    /// A file with contents.
    File {
        /// Its contents.
        data: Vec<u8>,
        /// Its mode.
        mode: u32,
    },
    /// An empty directory.
    Dir {
        /// Its mode.
        mode: u32,
    },
    /// Something hidden.
    Mask,
}

/// Landlock rules; all zero and empty: none.
#[derive(Debug, Default)]
pub struct Landlock {
    /// LANDLOCK_ACCESS_FS_* that are denied unless a rule allows them.
    pub handled_fs: u64,
    /// LANDLOCK_ACCESS_NET_*.
    pub handled_net: u64,
    /// LANDLOCK_SCOPE_*.
    pub scoped: u64,
    /// Take what this kernel has, and say what was left out.
    pub best_effort: bool,
    /// What paths allow.
    pub paths: Vec<LandlockPath>,
    /// What ports allow.
    pub ports: Vec<LandlockPort>,
}

/// A path and the accesses it allows beneath it.
#[derive(Debug)]
pub struct LandlockPath {
    /// Absolute path inside the sandbox.
    pub path: Text,
    /// LANDLOCK_ACCESS_FS_*.
    pub access: u64,
    /// Skipped if it does not exist.
    pub optional: bool,
}

/// A TCP port and what is allowed with it.
#[derive(Debug, Clone, Copy)]
pub struct LandlockPort {
    /// Port number.
    pub port: u16,
    /// LANDLOCK_ACCESS_NET_*.
    pub access: u64,
}

/// A seccomp filter.
#[derive(Debug)]
pub struct Filter {
    /// 1 to 4096 instructions.
    pub program: Vec<libc::sock_filter>,
    /// SECCOMP_FILTER_FLAG_*.
    pub flags: u32,
}

impl Runner {
    /// True when Landlock has anything to do.
    pub fn uses_landlock(&self) -> bool {
        self.landlock.handled_fs | self.landlock.handled_net | self.landlock.scoped != 0
    }

    /// The map entry for a number of the child.
    pub fn fd_for(&self, child_fd: c_int) -> Option<FdMap> {
        self.fds.iter().copied().find(|entry| entry.child_fd == child_fd)
    }
}
