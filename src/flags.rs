//! The numbers of the C interface: bits and values that callers write and the inside reads.
//!
//! One list, because the same bit is checked by a setter, read by the plan and explained in the
//! header. The header generator reads this file; the names are the C names for that reason.

/// This library's version: changes when the interface changes incompatibly.
pub const SBX_VERSION_MAJOR: u32 = 0;
/// Grows when something is added; while the major version is 0, also when something breaks.
pub const SBX_VERSION_MINOR: u32 = 1;
/// Grows with every release of the same interface.
pub const SBX_VERSION_PATCH: u32 = 0;

/// A timeout that never ends.
pub const SBX_INFINITE: u64 = u64::MAX;
/// A limit that is lifted: RLIM_INFINITY for sbx_add_rlimit.
pub const SBX_UNLIMITED: u64 = u64::MAX;

/// sbx_error.blame: nothing failed.
pub const SBX_BLAME_NONE: u32 = 0;
/// sbx_error.blame: the caller's settings, arguments or sync function.
pub const SBX_BLAME_CALLER: u32 = 1;
/// sbx_error.blame: this kernel, this user's rights, this container.
pub const SBX_BLAME_HOST: u32 = 2;
/// sbx_error.blame: the program's file (missing, not executable, no interpreter).
pub const SBX_BLAME_PROGRAM: u32 = 3;
/// sbx_error.blame: memory, process slots, descriptors: worth trying again.
pub const SBX_BLAME_TRANSIENT: u32 = 4;

/// A time namespace (CLONE_NEWTIME).
pub const SBX_NS_TIME: u64 = 1 << 7;
/// A mount namespace (CLONE_NEWNS).
pub const SBX_NS_MNT: u64 = 1 << 17;
/// A cgroup namespace (CLONE_NEWCGROUP).
pub const SBX_NS_CGROUP: u64 = 1 << 25;
/// A UTS namespace: host and domain name (CLONE_NEWUTS).
pub const SBX_NS_UTS: u64 = 1 << 26;
/// An IPC namespace: System V IPC and POSIX message queues (CLONE_NEWIPC).
pub const SBX_NS_IPC: u64 = 1 << 27;
/// A user namespace (CLONE_NEWUSER).
pub const SBX_NS_USER: u64 = 1 << 28;
/// A pid namespace (CLONE_NEWPID).
pub const SBX_NS_PID: u64 = 1 << 29;
/// A network namespace (CLONE_NEWNET).
pub const SBX_NS_NET: u64 = 1 << 30;

/// sbx_set_pivot_root: do not seal the root read-only at the end.
pub const SBX_ROOT_WRITABLE: u32 = 1 << 0;

/// The entry is writable. The default is read-only, submounts included.
pub const SBX_MOUNT_WRITABLE: u32 = 1 << 0;
/// Whatever the kernel refuses skips this entry; sbx_process_unenforced says that it happened.
pub const SBX_MOUNT_OPTIONAL: u32 = 1 << 1;
/// Nothing on it can be executed. The default allows it.
pub const SBX_MOUNT_NOEXEC: u32 = 1 << 2;
/// Set-user-id bits and file capabilities on it work. The default is nosuid.
pub const SBX_MOUNT_SUID: u32 = 1 << 3;
/// Device files on it work. The default is nodev.
pub const SBX_MOUNT_DEV: u32 = 1 << 4;
/// A bind without the mounts below its source. The default takes them along.
pub const SBX_MOUNT_NONRECURSIVE: u32 = 1 << 5;
/// sbx_add_dev: also pts (a devpts instance of its own) and ptmx.
pub const SBX_MOUNT_DEVPTS: u32 = 1 << 6;
/// sbx_add_proc: the processes of other users are invisible (hidepid=2).
pub const SBX_MOUNT_HIDEPID: u32 = 1 << 7;

/// sbx_set_landlock: take what this kernel's Landlock has; sbx_process_unenforced says what was
/// left out. Without it the start fails.
pub const SBX_LANDLOCK_BEST_EFFORT: u32 = 1 << 0;

/// sbx_process_shape: the program is a child of the host, cloned straight out of it.
pub const SBX_SHAPE_DIRECT: u32 = 0;
/// sbx_process_shape: a child of the host, which was a small program of the library's before its
/// exec.
pub const SBX_SHAPE_STAGED: u32 = 1;
/// sbx_process_shape: the child of a small init, which is the child of the host.
pub const SBX_SHAPE_INIT: u32 = 2;

/// sbx_process_unenforced: the bounding set is as it was, since the caller had no CAP_SETPCAP.
pub const SBX_UNENFORCED_BOUNDING_SET: u64 = 1 << 0;
/// sbx_process_unenforced: this kernel's Landlock lacks some of what was asked (best effort).
pub const SBX_UNENFORCED_LANDLOCK: u64 = 1 << 1;
/// sbx_process_unenforced: at least one optional entry of the root was skipped.
pub const SBX_UNENFORCED_MOUNT: u64 = 1 << 2;
/// sbx_process_unenforced: the securebits are as they were, since the caller had no CAP_SETPCAP.
pub const SBX_UNENFORCED_SECUREBITS: u64 = 1 << 3;
/// sbx_process_unenforced: the host's supplementary groups are still there (setgroups is denied).
pub const SBX_UNENFORCED_GROUPS: u64 = 1 << 4;
/// Without /proc of the host's own pid namespace an init without a pid namespace knows only the
/// program: what it leaves behind may live on.
pub const SBX_UNENFORCED_DESCENDANTS: u64 = 1 << 5;
