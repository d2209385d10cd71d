//! Errors as data: which step failed, on which entry of a list, with which errno, and whose fault it is.
//!
//! An `Error` is small and needs no memory; the text a caller reads is written into the caller's own
//! `struct sbx_error` at the C boundary (src/capi/error.rs).

use core::fmt::{self, Write};

use crate::mem::OutOfMemory;

/// Whose move it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Blame {
    /// The caller's settings or arguments.
    Caller = 1,
    /// This kernel, this user's rights, this container.
    Host = 2,
    /// The program's file: missing, not executable, no interpreter.
    Program = 3,
    /// Worth trying again: memory, process slots, file descriptors.
    Transient = 4,
}

/// A short message in memory of its own, cut at its end when it is too long.
#[derive(Clone, Copy)]
pub struct Message {
    len: u8,
    text: [u8; Message::MAX],
}

impl Message {
    const MAX: usize = 159;

    /// No message.
    pub const EMPTY: Message = Message { len: 0, text: [0; Message::MAX] };

    /// Formats a message.
    pub fn format(args: fmt::Arguments) -> Message {
        let mut message = Message::EMPTY;
        // Writing into a Message cannot fail; what does not fit is cut.
        let _ = message.write_fmt(args);
        message
    }

    /// The message's text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.text[..self.len as usize]).unwrap_or("")
    }
}

impl Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let mut utf8 = [0; 4];
            let bytes = c.encode_utf8(&mut utf8).as_bytes();
            let start = self.len as usize;
            let Some(room) = self.text.get_mut(start..start + bytes.len()) else { break };
            room.copy_from_slice(bytes);
            self.len += bytes.len() as u8;
        }
        Ok(())
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Why something did not work.
#[derive(Debug, Clone, Copy)]
pub struct Error {
    /// The positive errno.
    pub errno: i32,
    /// The step.
    pub location: Location,
    /// Which entry of a list (rlimits, mounts, fds, ...), or -1.
    pub index: i32,
    /// What to say beside the step's name and the errno; may be empty.
    pub message: Message,
}

/// The usual result.
pub type Result<T> = core::result::Result<T, Error>;

impl Error {
    /// A failed step.
    pub fn at(location: Location, errno: i32) -> Error {
        Error { errno, location, index: -1, message: Message::EMPTY }
    }

    /// A bad argument or setting; the message begins with the setting's name.
    pub fn invalid(message: fmt::Arguments) -> Error {
        Error::with_message(Location::Argument, libc::EINVAL, message)
    }

    /// A failed step, with words.
    pub fn with_message(location: Location, errno: i32, message: fmt::Arguments) -> Error {
        Error { message: Message::format(message), ..Error::at(location, errno) }
    }

    /// The same error, for one entry of a list.
    pub fn index(self, index: usize) -> Error {
        Error { index: i32::try_from(index).unwrap_or(i32::MAX), ..self }
    }

    /// Whose fault it is, as far as errno and step tell.
    pub fn blame(&self) -> Blame {
        match (self.location, self.errno) {
            (Location::Argument, _) => Blame::Caller,
            (Location::SyncFunc, _) => Blame::Caller,
            (
                _,
                libc::EAGAIN
                | libc::ENOMEM
                | libc::EMFILE
                | libc::ENFILE
                | libc::EDQUOT
                | libc::ETXTBSY
                | libc::EINTR,
            ) => Blame::Transient,
            (Location::Exec, libc::E2BIG | libc::EBADF) => Blame::Caller,
            (Location::Exec, _) => Blame::Program,
            (
                _,
                libc::EINVAL
                | libc::ENOENT
                | libc::EBADF
                | libc::ENOTDIR
                | libc::EEXIST
                | libc::ELOOP
                | libc::ENAMETOOLONG
                | libc::ENOTTY,
            ) => Blame::Caller,
            _ => Blame::Host,
        }
    }
}

impl From<OutOfMemory> for Error {
    fn from(_: OutOfMemory) -> Error {
        Error::at(Location::Memory, libc::ENOMEM)
    }
}

/// Makes `Location` with its numbers and its names from one table.
macro_rules! locations {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal,)*) => {
        /// A step of a start, or the part of a call, in which an error happened. A number, once
        /// released, never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Location { $($(#[$doc])* $name = $number,)* }

        impl Location {
            /// Every location, in the order of the table.
            pub const ALL: &'static [Location] = &[$(Location::$name),*];

            /// The location with this number.
            pub fn from_number(number: u32) -> Option<Location> {
                match number { $($number => Some(Location::$name),)* _ => None }
            }

            /// The name, NUL-terminated for C.
            pub fn name(self) -> &'static core::ffi::CStr {
                match self { $(Location::$name => $text,)* }
            }
        }
    };
}

locations! {
    /// No step: nothing failed.
    None = 0 c"none",
    /// A setting or an argument, checked before anything was started.
    Argument = 1 c"argument",
    /// The host ran out of memory.
    Memory = 2 c"memory",
    /// Nothing more precise: the child ended during its setup (killed from outside, out of memory).
    Died = 3 c"died_in_setup",
    /// The setup took longer than setup_timeout_ns; index is the plan's step it was in.
    SetupTimeout = 4 c"setup_timeout",

    // What the host does.
    /// clone3(2), clone(2): the child itself.
    Clone = 10 c"clone",
    /// pidfd_open(2) of the host itself.
    HostPidfd = 11 c"host_pidfd",
    /// memfd_create(2) and the seals of the embedded program.
    InitProgram = 12 c"init_program",
    /// socketpair(2), sendmsg(2), recvmsg(2): the channel between host and init.
    Channel = 13 c"channel",
    /// Writing /proc/PID/uid_map.
    UidMap = 14 c"uid_map",
    /// Writing /proc/PID/gid_map.
    GidMap = 15 c"gid_map",
    /// Writing /proc/PID/setgroups.
    SetgroupsFile = 16 c"setgroups_file",
    /// Writing /proc/PID/timens_offsets.
    TimeOffsets = 17 c"time_offsets",
    /// The caller's sync function returned an error.
    SyncFunc = 18 c"sync_func",
    /// PTRACE_SEIZE of the child.
    Ptrace = 19 c"ptrace",
    /// mmap(2) of the child's stack and plan.
    Arena = 20 c"arena",
    /// Opening the cgroup's file by which the child joins.
    CgroupOpen = 21 c"cgroup_open",
    /// waitid(2) on the program.
    Wait = 22 c"wait",
    /// pidfd_send_signal(2).
    Kill = 23 c"kill",

    // What the child does, in the order in which it does it.
    /// prctl(PR_SET_PDEATHSIG).
    Pdeathsig = 30 c"pdeathsig",
    /// The host ended while the child was being set up.
    HostGone = 31 c"host_gone",
    /// sched_setscheduler(2) to SCHED_OTHER: a host's real-time policy is not inherited.
    SchedReset = 32 c"sched_reset",
    /// rt_sigaction(2): every signal's default action.
    Signals = 33 c"signals",
    /// setns(2); index: which sbx_join_namespace.
    JoinNamespace = 34 c"join_namespace",
    /// unshare(2).
    Unshare = 35 c"unshare",
    /// Waiting for the uid and gid maps.
    Maps = 36 c"maps",
    /// Raising capabilities as ambient for the embedded program.
    AmbientRaise = 37 c"ambient_raise",
    /// Handing file descriptors to the embedded program.
    InheritFds = 38 c"inherit_fds",
    /// execveat(2) of the embedded program.
    ExecInit = 39 c"exec_init",
    /// The embedded program could not read its plan.
    InitPlan = 40 c"init_plan",
    /// prctl(PR_SET_DUMPABLE).
    Dumpable = 41 c"dumpable",
    /// prctl(PR_SET_CHILD_SUBREAPER).
    Subreaper = 42 c"subreaper",
    /// clone(2) of the program by the init.
    Spawn = 43 c"spawn",
    /// Writing /proc/self/oom_score_adj.
    OomScoreAdj = 44 c"oom_score_adj",
    /// keyctl(KEYCTL_JOIN_SESSION_KEYRING).
    Keyring = 45 c"session_keyring",
    /// setsid(2).
    Setsid = 46 c"setsid",
    /// ioctl(TIOCSCTTY).
    Ctty = 47 c"ctty",
    /// ioctl(SIOCSIFFLAGS) on lo.
    Loopback = 48 c"loopback",
    /// sethostname(2).
    Hostname = 49 c"hostname",
    /// setdomainname(2).
    Domainname = 50 c"domainname",
    /// Opening /dev/null for the standard streams that are not mapped.
    DevNull = 51 c"dev_null",
    /// umask(2).
    Umask = 52 c"umask",
    /// mount(2) MS_PRIVATE on the whole tree.
    MountPrivate = 53 c"mount_private",
    /// Making or opening the new root.
    Root = 54 c"root",
    /// Opening a mount's source; index: which sbx_add_* (mounts, links, files and masks count together).
    MountSource = 55 c"mount_source",
    /// Making or opening a mount's target.
    MountTarget = 56 c"mount_target",
    /// mount(2), move_mount(2).
    Mount = 57 c"mount",
    /// mount_setattr(2).
    MountAttr = 58 c"mount_attr",
    /// symlinkat(2).
    Symlink = 59 c"symlink",
    /// Making and writing a file.
    File = 60 c"file",
    /// Hiding a file or directory.
    Mask = 61 c"mask",
    /// Sealing the root read-only.
    RootSeal = 62 c"root_seal",
    /// pivot_root(2) and letting go of the old root.
    PivotRoot = 63 c"pivot_root",
    /// chroot(2).
    Chroot = 64 c"chroot",
    /// chdir(2) to the new root.
    Chdir = 65 c"chdir",
    /// close_range(2).
    CloseRange = 66 c"close_range",
    /// dup3(2), fcntl(2); index: which entry of the fd map.
    FdMap = 67 c"fd_map",
    /// Opening and entering the work directory.
    Workdir = 68 c"workdir",
    /// sched_setaffinity(2).
    Affinity = 69 c"cpu_affinity",
    /// setpriority(2).
    Nice = 70 c"nice",
    /// sched_setscheduler(2).
    Scheduler = 71 c"scheduler",
    /// personality(2).
    Personality = 72 c"personality",
    /// prctl(PR_CAPBSET_DROP); index: the first capability of the run.
    CapBounding = 73 c"cap_bounding",
    /// prctl(PR_SET_KEEPCAPS).
    KeepCaps = 74 c"keep_caps",
    /// setgroups(2).
    Setgroups = 75 c"setgroups",
    /// setresgid(2).
    Setgid = 76 c"setgid",
    /// setresuid(2).
    Setuid = 77 c"setuid",
    /// capset(2): the effective set up again after the uid change.
    CapRaise = 78 c"cap_raise",
    /// prctl(PR_SET_NO_NEW_PRIVS).
    NoNewPrivs = 79 c"no_new_privs",
    /// landlock_create_ruleset(2).
    LandlockRuleset = 80 c"landlock_ruleset",
    /// Opening a path and landlock_add_rule(2); index: which path, or which port.
    LandlockRule = 81 c"landlock_rule",
    /// landlock_restrict_self(2).
    LandlockRestrict = 82 c"landlock_restrict",
    /// Writing 0 to a cgroup's tasks or cgroup.procs; index: which cgroup.
    Cgroup = 83 c"cgroup",
    /// The handshake with the host right before exec.
    Sync = 84 c"sync",
    /// unshare(CLONE_NEWCGROUP).
    UnshareCgroup = 85 c"unshare_cgroup",
    /// prlimit64(2); index: which sbx_add_rlimit.
    Rlimit = 86 c"rlimit",
    /// prctl(PR_CAP_AMBIENT).
    CapAmbient = 87 c"cap_ambient",
    /// prctl(PR_SET_SECUREBITS).
    Securebits = 88 c"securebits",
    /// capset(2): the final sets.
    Capset = 89 c"capset",
    /// kill(2) SIGSTOP: the stop before the filter.
    Stop = 90 c"stop",
    /// rt_sigprocmask(2).
    Sigmask = 91 c"sigmask",
    /// seccomp(2); index: which filter.
    Seccomp = 92 c"seccomp",
    /// execve(2), execveat(2).
    Exec = 93 c"exec",
    /// setfsuid(2), setfsgid(2): ids that the new user namespace knows, for what is made in it.
    FsIds = 94 c"fs_ids",
    /// setpgid(2): a process group of its own.
    Setpgid = 95 c"process_group",
}
