//! What only makes sense together: contradictions between settings, found before anything is started.

use super::host::{CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN, Host, landlock_abi};
use crate::error::{Error, Result};
use crate::flags::SBX_NS_TIME;
use crate::launch::Launch;
use crate::runner::{IdMap, MountKind, RootKind, Runner};

/// An error if the settings contradict each other, or this host's rights.
pub fn check(runner: &Runner, launch: &Launch, host: &Host) -> Result<()> {
    program(runner, launch)?;
    namespaces(runner)?;
    mounts(runner, launch)?;
    identity(runner, host)?;
    filters(runner, host)?;
    landlock(runner, host)
}

fn program(runner: &Runner, launch: &Launch) -> Result<()> {
    let args = launch.args.as_ref().unwrap_or(&runner.args);
    let Some(first) = args.first() else {
        return Err(Error::invalid(format_args!(
            "args: not set: a program needs at least its own name"
        )));
    };
    let path = launch.exec_path.as_ref().or(runner.exec_path.as_ref());
    let fd = launch.exec_fd.or(runner.exec_fd);
    if launch.exec_path.is_some() && launch.exec_fd.is_some()
        || launch.exec_path.is_none() && launch.exec_fd.is_none() && path.is_some() && fd.is_some()
    {
        return Err(Error::invalid(format_args!("exec_path and exec_fd exclude each other")));
    }
    if fd.is_none() && path.is_none() && first.bytes().is_empty() {
        return Err(Error::invalid(format_args!(
            "args: the program's name is empty, and neither exec_path nor exec_fd is set"
        )));
    }
    if runner.stop_before_seccomp
        && !runner.ptrace
        && runner.makes(libc::CLONE_NEWPID)
        && runner.init == Some(false)
    {
        return Err(Error::invalid(format_args!(
            "stop_before_seccomp: process 1 of a pid namespace cannot stop itself: use the init or ptrace"
        )));
    }
    Ok(())
}

fn namespaces(runner: &Runner) -> Result<()> {
    let needs = |set: bool, name: &str, kind: i32, namespace: &str| {
        if set && !runner.makes(kind) {
            Err(Error::invalid(format_args!(
                "{name}: needs a new {namespace} namespace (sbx_set_namespaces)"
            )))
        } else {
            Ok(())
        }
    };
    needs(runner.hostname.is_some(), "hostname", libc::CLONE_NEWUTS, "uts")?;
    needs(runner.domainname.is_some(), "domainname", libc::CLONE_NEWUTS, "uts")?;
    needs(runner.loopback, "loopback", libc::CLONE_NEWNET, "net")?;
    needs(!runner.time_offsets.is_empty(), "time_offset", SBX_NS_TIME as i32, "time")?;
    needs(!runner.uid_map.is_empty(), "uid_map", libc::CLONE_NEWUSER, "user")?;
    needs(!runner.gid_map.is_empty(), "gid_map", libc::CLONE_NEWUSER, "user")?;
    needs(runner.setgroups.is_some(), "setgroups", libc::CLONE_NEWUSER, "user")?;
    needs(
        runner.unshare_cgroup_after_sync,
        "unshare_cgroup_after_sync",
        libc::CLONE_NEWCGROUP,
        "cgroup",
    )?;
    for joined in &runner.joined {
        if runner.namespaces & joined.kind != 0 && joined.kind != libc::CLONE_NEWUSER as u64 {
            return Err(Error::invalid(format_args!(
                "join_namespace: the namespaces to make and to join have a kind in common"
            )));
        }
    }
    if runner.joins(libc::CLONE_NEWUSER as u64) && runner.makes(libc::CLONE_NEWPID) {
        return Err(Error::invalid(format_args!(
            "join_namespace: a new pid namespace cannot be made inside a joined user namespace"
        )));
    }
    if runner.joins(libc::CLONE_NEWUSER as u64) && runner.namespaces & SBX_NS_TIME != 0 {
        return Err(Error::invalid(format_args!(
            "join_namespace: a new time namespace cannot be made inside a joined user namespace"
        )));
    }
    Ok(())
}

fn mounts(runner: &Runner, launch: &Launch) -> Result<()> {
    let own_mounts = runner.makes(libc::CLONE_NEWNS);
    if let Some(root) = &runner.root {
        let name = if root.kind == RootKind::Pivot { "pivot_root" } else { "chroot" };
        if !own_mounts && (root.kind == RootKind::Pivot || root.path.is_none()) {
            return Err(Error::invalid(format_args!(
                "{name}: needs a new mnt namespace (sbx_set_namespaces)"
            )));
        }
    }
    if !own_mounts && (!runner.mounts.is_empty() || !launch.binds.is_empty()) {
        return Err(Error::invalid(format_args!(
            "mounts: need a new mnt namespace (sbx_set_namespaces)"
        )));
    }
    if runner.root.is_none()
        && runner.mounts.iter().any(|mount| {
            matches!(
                mount.kind,
                MountKind::File { .. } | MountKind::Symlink { .. } | MountKind::Dir { .. }
            )
        })
    {
        return Err(Error::invalid(format_args!(
            "mounts: a file, link or directory needs a new root: without one it would be made on the host's own"
        )));
    }
    if runner.makes(libc::CLONE_NEWUSER)
        && (runner.uid_map.is_empty() || runner.gid_map.is_empty())
        && super::root::makes_anything(runner, launch)
    {
        return Err(Error::invalid(format_args!(
            "uid_map, gid_map: not set: nobody could make anything in the new root"
        )));
    }
    for bind in &launch.binds {
        if runner.mounts.iter().any(|mount| {
            mount.target == bind.target && !matches!(mount.kind, MountKind::Raw { .. })
        }) {
            return Err(Error::invalid(format_args!(
                "binds: the launch and the runner mount on the same target"
            )));
        }
    }
    Ok(())
}

fn identity(runner: &Runner, host: &Host) -> Result<()> {
    let Some(credential) = &runner.credential else {
        if runner.makes(libc::CLONE_NEWUSER) && leaves_out(runner, host) {
            // It would run as the host's own user, whatever it looks like from inside.
            return Err(Error::invalid(format_args!(
                "credential: not set, and the host's ids are not in the maps: who is the program?"
            )));
        }
        return Ok(());
    };
    if !runner.makes(libc::CLONE_NEWUSER) {
        return Ok(());
    }
    let mapped = |id: u32, map: &[IdMap]| IdMap::to_outside(map, id).is_some();
    if !mapped(credential.uid, &runner.uid_map) {
        return Err(Error::invalid(format_args!(
            "credential: uid {} is not in the uid map",
            credential.uid
        )));
    }
    if !mapped(credential.gid, &runner.gid_map) {
        return Err(Error::invalid(format_args!(
            "credential: gid {} is not in the gid map",
            credential.gid
        )));
    }
    if let Some(group) = credential.groups.iter().find(|group| !mapped(**group, &runner.gid_map)) {
        return Err(Error::invalid(format_args!(
            "credential: group {group} is not in the gid map"
        )));
    }
    if !credential.groups.is_empty() && !setgroups_allowed(runner, host) {
        return Err(Error::invalid(format_args!(
            "credential: supplementary groups need setgroups to be allowed in the user namespace (CAP_SETGID)"
        )));
    }
    Ok(())
}

/// True if the maps leave the host's own ids out. Without any map an unprivileged host's program can
/// only be what the host is.
fn leaves_out(runner: &Runner, host: &Host) -> bool {
    if host.euid != 0 && !host.may(CAP_SETUID) {
        // The kernel lets such a host map nobody but itself.
        return false;
    }
    let knows = |id: u32, map: &[IdMap]| {
        map.is_empty() && host.euid != 0 || IdMap::to_inside(map, id).is_some()
    };
    !knows(host.euid, &runner.uid_map) || !knows(host.egid, &runner.gid_map)
}

/// True if the new user namespace lets its members call setgroups(2).
pub fn setgroups_allowed(runner: &Runner, host: &Host) -> bool {
    runner.setgroups.unwrap_or(runner.credential.is_some() && host.may(CAP_SETGID))
}

fn filters(runner: &Runner, host: &Host) -> Result<()> {
    if runner.filters.is_empty() || runner.no_new_privs {
        return Ok(());
    }
    let kept = runner.caps.unwrap_or_else(|| super::identity::permitted(runner, host));
    if kept & super::identity::permitted(runner, host) & CAP_SYS_ADMIN == 0 {
        return Err(Error::invalid(format_args!(
            "bpf: a filter needs no_new_privs, or a kept CAP_SYS_ADMIN"
        )));
    }
    Ok(())
}

fn landlock(runner: &Runner, host: &Host) -> Result<()> {
    let wanted = &runner.landlock;
    if !runner.uses_landlock() {
        if !wanted.paths.is_empty() || !wanted.ports.is_empty() {
            return Err(Error::invalid(format_args!("landlock: rules without sbx_set_landlock")));
        }
        return Ok(());
    }
    if !runner.no_new_privs && super::identity::permitted(runner, host) & CAP_SYS_ADMIN == 0 {
        return Err(Error::invalid(format_args!("landlock: needs no_new_privs, or CAP_SYS_ADMIN")));
    }
    for (n, path) in wanted.paths.iter().enumerate() {
        if path.access & !wanted.handled_fs != 0 {
            return Err(Error::invalid(format_args!(
                "landlock_path: allows an access that sbx_set_landlock does not handle"
            ))
            .index(n));
        }
    }
    for (n, port) in wanted.ports.iter().enumerate() {
        if port.access & !wanted.handled_net != 0 {
            return Err(Error::invalid(format_args!(
                "landlock_port: allows an access that sbx_set_landlock does not handle"
            ))
            .index(n));
        }
    }
    if !wanted.best_effort {
        super::landlock::supported(wanted, landlock_abi())?;
    }
    Ok(())
}
