//! Prints a plan: one line a step, in the order in which they happen, each with its system call.
//!
//! This is documentation, a debugging aid, and the oracle of a test that compares it with what the
//! kernel saw: so it prints the very steps that a start performs, from the same builder.

use core::fmt::{self, Write};

use super::builder::{Arg, Builder};
use super::order::{self, Internal, Joining};
use super::sources::Patience;
use super::step::Call;
use super::{Shape, cgroup_fds, needs_host_pidfd, prepare};
use crate::child::plan::{ANY_ERRNO, NO_ARG, NO_SLOT, list, op, request};
use crate::error::{Error, Location, Result};
use crate::launch::Launch;
use crate::mem;
use crate::runner::Runner;

/// What the embedded program does by itself, before and after its lists.
const INIT_FIRST: &[&str] = &[
    "recvmsg(channel)",
    "mmap(control)",
    "mmap(plan)",
    "close(memfd)",
    "fcntl(channel, F_DUPFD_CLOEXEC)",
    "close(channel)",
];
const STAGED_FIRST: &[&str] =
    &["mmap(control)", "mmap(plan)", "close(memfd)", "gettid()", "set_robust_list(control)"];
const SPAWN_FIRST: &[&str] = &[
    "signalfd4(SIGCHLD)",
    "pipe2(exec)",
    "fcntl(exec, F_DUPFD_CLOEXEC)",
    "close(exec)",
    "prctl(PR_SET_PDEATHSIG, 0)",
];
const SPAWN_THEN: &[&str] = &["close(exec)"];

/// Describes what a start of this runner with this launch would do. Nothing is started.
pub fn describe(runner: &Runner, launch: &Launch, out: &mut dyn Write) -> Result<()> {
    let (host, shape) = prepare(runner, launch)?;
    // Numbers that only a start knows; these are surely nobody else's.
    let somewhere = |needed: bool, n: i32| if needed { i32::MAX - n } else { -1 };
    let embedded = shape != Shape::Direct;
    let mut internal = Internal {
        host_pidfd: somewhere(needs_host_pidfd(runner, shape), 1),
        plan_source: somewhere(embedded, 2),
        init_program: somewhere(embedded, 3),
        cgroups: Vec::new(),
        patience: Patience::Endless,
    };
    for (index, fd) in cgroup_fds(runner, launch).iter().enumerate() {
        let joining = crate::start::how_to_join(*fd, shape).map_err(|error| error.index(index))?;
        mem::push(&mut internal.cgroups, joining)?;
    }
    let draft = order::build(runner, launch, &host, shape, &internal)?;
    print(&draft.builder, runner, launch, shape, &internal, out)
        .map_err(|_| Error::at(Location::Memory, libc::ENOMEM))
}

fn print(
    builder: &Builder,
    runner: &Runner,
    launch: &Launch,
    shape: Shape,
    internal: &Internal,
    out: &mut dyn Write,
) -> fmt::Result {
    let shape_name = match shape {
        Shape::Direct => "direct",
        Shape::Staged => "staged",
        Shape::Init => "init",
    };
    writeln!(out, "shape {shape_name}")?;
    write!(out, "{:<8} {:<18} clone(CLONE_VM", "host", "clone")?;
    for (bit, name) in NAMESPACES {
        if super::clone_namespaces(runner, launch) & bit != 0 {
            write!(out, "|{name}")?;
        }
    }
    writeln!(out, ")")?;
    for (n, name) in ["entry", "init", "program"].iter().enumerate() {
        if n == list::INIT as usize && shape != Shape::Direct {
            own_calls(
                out,
                name,
                "init_plan",
                if shape == Shape::Init { INIT_FIRST } else { STAGED_FIRST },
            )?;
        }
        for call in builder.lists.get(n).into_iter().flatten() {
            step(builder, name, call, out)?;
        }
        if n == list::INIT as usize && shape == Shape::Init {
            own_calls(out, name, "spawn", SPAWN_FIRST)?;
            let into = internal.cgroups.iter().any(|cgroup| matches!(cgroup, Joining::Clone(_)));
            writeln!(
                out,
                "{name:<8} {:<18} {}",
                "spawn",
                if into { "clone3(CLONE_VM|CLONE_INTO_CGROUP)" } else { "clone(CLONE_VM)" }
            )?;
            own_calls(out, name, "spawn", SPAWN_THEN)?;
        }
    }
    Ok(())
}

fn own_calls(out: &mut dyn Write, list: &str, location: &str, calls: &[&str]) -> fmt::Result {
    calls.iter().try_for_each(|call| writeln!(out, "{list:<8} {location:<18} {call}"))
}

fn step(builder: &Builder, list: &str, call: &Call, out: &mut dyn Write) -> fmt::Result {
    let step = &call.step;
    let location = Location::from_number(u32::from(step.location))
        .unwrap_or(Location::None)
        .name()
        .to_str()
        .unwrap_or("");
    write!(out, "{list:<8} ")?;
    if step.index >= 0 {
        let mut name = [0u8; 32];
        let name = mem::format_into(&mut name, format_args!("{location}[{}]", step.index));
        write!(out, "{:<18} ", core::str::from_utf8(name).unwrap_or(""))?;
    } else {
        write!(out, "{location:<18} ")?;
    }
    match step.op {
        op::ASK | op::TELL => {
            let what = match step.args[0] as u32 {
                request::MAPS => "maps",
                request::SYNC => "sync",
                request::SEIZE => "seize",
                request::STOPPING => "stopping",
                _ => "program",
            };
            let wait = if step.op == op::ASK { "and wait" } else { "and go on" };
            return writeln!(out, "[handshake] tell the host: {what}, {wait}");
        }
        op::JUMP => return writeln!(out, "[go on at step {}]", step.catch_to),
        op::STORE => return writeln!(out, "[store %{}]", step.args[1]),
        op::COMPARE => return writeln!(out, "[must be the same, or errno {}]", step.expect_errno),
        _ => {}
    }
    write!(out, "{}(", system_call_name(step.nr))?;
    for (n, arg) in call.args.iter().take(usize::from(call.n_args)).enumerate() {
        if n > 0 {
            write!(out, ", ")?;
        }
        argument(builder, *arg, out)?;
        if step.repeat_arg != NO_ARG && usize::from(step.repeat_arg) == n && step.repeat > 1 {
            write!(out, "..")?;
        }
    }
    write!(out, ")")?;
    if step.repeat > 1 {
        write!(out, " x{}", step.repeat)?;
    }
    if step.out != NO_SLOT {
        write!(out, " = %{}", step.out)?;
    }
    if step.expect_errno != 0 {
        write!(out, " [must be {}{}]", if step.expect_slot != 0 { "%" } else { "" }, step.expect)?;
    }
    match step.tolerate {
        0 => {}
        ANY_ERRNO => write!(out, " [any errno is fine]")?,
        errno => write!(out, " [errno {errno} is fine]")?,
    }
    match step.catch_errno {
        0 => {}
        ANY_ERRNO => write!(out, " [on errno: go on at step {}]", step.catch_to)?,
        errno => write!(out, " [on errno {errno}: go on at step {}]", step.catch_to)?,
    }
    if step.retry_errno != 0 {
        write!(out, " [errno {} is tried again]", step.retry_errno)?;
    }
    writeln!(out)
}

fn argument(builder: &Builder, arg: Arg, out: &mut dyn Write) -> fmt::Result {
    const AT_FDCWD: u64 = libc::AT_FDCWD as i64 as u64;
    match arg {
        Arg::Int(AT_FDCWD) => write!(out, "AT_FDCWD"),
        Arg::Int(value) if value > u64::from(u32::MAX) => write!(out, "{}", value as i64),
        Arg::Int(value) if value >= 1024 => write!(out, "{value:#x}"),
        Arg::Int(value) => write!(out, "{value}"),
        Arg::Fd(fd, "fd") => write!(out, "{fd}"),
        Arg::Fd(_, name) => write!(out, "{{{name}}}"),
        Arg::Slot(slot) => write!(out, "%{}", slot.0),
        Arg::Data(_) => write!(out, "&data"),
        Arg::Text(at) => {
            write!(out, "\"")?;
            for byte in builder.data.iter().skip(at.0 as usize).take_while(|byte| **byte != 0) {
                write!(out, "{}", byte.escape_ascii())?;
            }
            write!(out, "\"")
        }
    }
}

const NAMESPACES: [(u64, &str); 8] = [
    (libc::CLONE_NEWUSER as u64, "CLONE_NEWUSER"),
    (libc::CLONE_NEWPID as u64, "CLONE_NEWPID"),
    (libc::CLONE_NEWNS as u64, "CLONE_NEWNS"),
    (libc::CLONE_NEWNET as u64, "CLONE_NEWNET"),
    (libc::CLONE_NEWIPC as u64, "CLONE_NEWIPC"),
    (libc::CLONE_NEWUTS as u64, "CLONE_NEWUTS"),
    (libc::CLONE_NEWCGROUP as u64, "CLONE_NEWCGROUP"),
    (crate::flags::SBX_NS_TIME, "CLONE_NEWTIME"),
];

/// The names of the system calls that plans are made of.
fn system_call_name(number: u32) -> &'static str {
    const NAMES: [(libc::c_long, &str); 54] = [
        (libc::SYS_capset, "capset"),
        (libc::SYS_chdir, "chdir"),
        (libc::SYS_chroot, "chroot"),
        (libc::SYS_close, "close"),
        (libc::SYS_close_range, "close_range"),
        (libc::SYS_dup3, "dup3"),
        (libc::SYS_execve, "execve"),
        (libc::SYS_execveat, "execveat"),
        (libc::SYS_fchdir, "fchdir"),
        (libc::SYS_fcntl, "fcntl"),
        (libc::SYS_fsconfig, "fsconfig"),
        (libc::SYS_fsmount, "fsmount"),
        (libc::SYS_fsopen, "fsopen"),
        (libc::SYS_fstat, "fstat"),
        (libc::SYS_getpid, "getpid"),
        (libc::SYS_getppid, "getppid"),
        (libc::SYS_ioctl, "ioctl"),
        (libc::SYS_keyctl, "keyctl"),
        (libc::SYS_kill, "kill"),
        (libc::SYS_landlock_add_rule, "landlock_add_rule"),
        (libc::SYS_landlock_create_ruleset, "landlock_create_ruleset"),
        (libc::SYS_landlock_restrict_self, "landlock_restrict_self"),
        (libc::SYS_mkdirat, "mkdirat"),
        (libc::SYS_mknodat, "mknodat"),
        (libc::SYS_mount, "mount"),
        (libc::SYS_mount_setattr, "mount_setattr"),
        (libc::SYS_move_mount, "move_mount"),
        (libc::SYS_open_tree, "open_tree"),
        (libc::SYS_openat, "openat"),
        (libc::SYS_openat2, "openat2"),
        (libc::SYS_personality, "personality"),
        (libc::SYS_pidfd_open, "pidfd_open"),
        (libc::SYS_pivot_root, "pivot_root"),
        (libc::SYS_ppoll, "ppoll"),
        (libc::SYS_prctl, "prctl"),
        (libc::SYS_prlimit64, "prlimit64"),
        (libc::SYS_readlinkat, "readlinkat"),
        (libc::SYS_rt_sigaction, "rt_sigaction"),
        (libc::SYS_rt_sigprocmask, "rt_sigprocmask"),
        (libc::SYS_sched_setaffinity, "sched_setaffinity"),
        (libc::SYS_sched_setscheduler, "sched_setscheduler"),
        (libc::SYS_seccomp, "seccomp"),
        (libc::SYS_setdomainname, "setdomainname"),
        (libc::SYS_setfsgid, "setfsgid"),
        (libc::SYS_setfsuid, "setfsuid"),
        (libc::SYS_setgroups, "setgroups"),
        (libc::SYS_sethostname, "sethostname"),
        (libc::SYS_setns, "setns"),
        (libc::SYS_faccessat2, "faccessat2"),
        (libc::SYS_setpgid, "setpgid"),
        (libc::SYS_setpriority, "setpriority"),
        (libc::SYS_setresgid, "setresgid"),
        (libc::SYS_setresuid, "setresuid"),
        (libc::SYS_setsid, "setsid"),
    ];
    const MORE: [(libc::c_long, &str); 6] = [
        (libc::SYS_socket, "socket"),
        (libc::SYS_symlinkat, "symlinkat"),
        (libc::SYS_umask, "umask"),
        (libc::SYS_umount2, "umount2"),
        (libc::SYS_unshare, "unshare"),
        (libc::SYS_write, "write"),
    ];
    NAMES
        .iter()
        .chain(&MORE)
        .find(|(known, _)| *known == libc::c_long::from(number))
        .map_or("?", |(_, name)| name)
}
