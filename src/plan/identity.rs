//! Steps for who the program is and what it may: ids, groups, capabilities, securebits.

use super::builder::{Arg, Builder, Offset};
use super::check::setgroups_allowed;
use super::host::{CAP_SETGID, CAP_SETPCAP, CAPABILITY_VERSION, Host, all_capabilities};
use crate::error::{Error, Location, Result};
use crate::flags::*;
use crate::runner::{IdMap, Runner};

/// NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE, KEEP_CAPS off, and all four locked: from here on
/// no exec and no change of uid brings a capability back.
const SECUREBITS: u64 = 0xef;

const PR_CAP_AMBIENT_RAISE: u64 = 2;
const PR_CAP_AMBIENT_CLEAR_ALL: u64 = 4;

/// True if the program's process has every capability over its own user namespace.
fn owns_user_namespace(runner: &Runner) -> bool {
    runner.makes(libc::CLONE_NEWUSER) || runner.joins(libc::CLONE_NEWUSER as u64)
}

/// The permitted set of the child before it gives anything up.
pub fn permitted(runner: &Runner, host: &Host) -> u64 {
    if owns_user_namespace(runner) { all_capabilities() } else { host.permitted }
}

/// True if the exec of the embedded program would lose the capabilities. It keeps them for uid 0 only:
/// in a new user namespace, whose securebits are the default ones, for whoever is 0 in there.
pub fn exec_loses_capabilities(runner: &Runner, host: &Host) -> bool {
    if runner.makes(libc::CLONE_NEWUSER) {
        let is_root = |range: &IdMap| range.inside == 0 && range.outside == host.euid;
        return !runner.uid_map.iter().any(is_root);
    }
    host.euid != 0 && host.permitted != 0
}

/// Raises every permitted capability as ambient, which an exec keeps.
pub fn add_ambient(builder: &mut Builder, runner: &Runner, host: &Host) -> Result<()> {
    let all = if runner.makes(libc::CLONE_NEWUSER) { all_capabilities() } else { host.permitted };
    capset(builder, Location::AmbientRaise, all, all, all)?;
    raise_ambient(builder, Location::AmbientRaise, all)
}

/// Bounding set, then groups, gid, uid, with the capabilities kept for what still has to be done.
/// The bounding set comes first: dropping from it needs CAP_SETPCAP, which a uid change takes away.
/// Returns bits of what could not be done.
pub fn add_credentials(
    builder: &mut Builder,
    runner: &Runner,
    host: &Host,
    raised_ambient: bool,
) -> Result<u64> {
    let mut left_out = 0;
    if let Some(keep) = runner.caps {
        if may_set_pcap(runner, host) {
            for (first, count) in runs(all_capabilities() & !keep) {
                builder
                    .call(
                        Location::CapBounding,
                        libc::SYS_prctl,
                        &[libc::PR_CAPBSET_DROP.into(), first.into()],
                    )?
                    .index(first)
                    .repeat(count, 1);
            }
        } else {
            left_out |= SBX_UNENFORCED_BOUNDING_SET;
        }
    }
    let Some(credential) = &runner.credential else { return Ok(left_out) };
    let permitted = permitted(runner, host);
    if permitted != 0 {
        builder.call(
            Location::KeepCaps,
            libc::SYS_prctl,
            &[libc::PR_SET_KEEPCAPS.into(), 1.into()],
        )?;
    }
    let may_set_groups = if runner.makes(libc::CLONE_NEWUSER) {
        setgroups_allowed(runner, host)
    } else {
        owns_user_namespace(runner) || host.may(CAP_SETGID)
    };
    if may_set_groups || !credential.groups.is_empty() {
        let groups = builder.numbers(&credential.groups)?;
        let args = [credential.groups.len().into(), Arg::Data(groups)];
        let added = builder.call(Location::Setgroups, libc::SYS_setgroups, &args)?;
        if credential.groups.is_empty() && runner.joins(libc::CLONE_NEWUSER as u64) {
            // Whether a joined namespace denies it can only be tried.
            let mark = if has_supplementary_groups() { SBX_UNENFORCED_GROUPS } else { 0 };
            added.excuse(libc::EPERM, mark);
        }
    } else if has_supplementary_groups() {
        left_out |= SBX_UNENFORCED_GROUPS;
    }
    let (uid, gid) = (Arg::from(credential.uid), Arg::from(credential.gid));
    builder.call(Location::Setgid, libc::SYS_setresgid, &[gid, gid, gid])?;
    builder.call(Location::Setuid, libc::SYS_setresuid, &[uid, uid, uid])?;
    if permitted != 0 {
        capset(
            builder,
            Location::CapRaise,
            permitted,
            permitted,
            inheritable(runner, host, raised_ambient),
        )?;
    }
    Ok(left_out)
}

/// The last word on capabilities: ambient, securebits, and the three sets of the process.
/// Returns bits of what could not be done.
pub fn add_final_capabilities(
    builder: &mut Builder,
    runner: &Runner,
    host: &Host,
    raised_ambient: bool,
) -> Result<u64> {
    if runner.caps.is_some() || raised_ambient {
        builder.call(
            Location::CapAmbient,
            libc::SYS_prctl,
            &[
                libc::PR_CAP_AMBIENT.into(),
                PR_CAP_AMBIENT_CLEAR_ALL.into(),
                0.into(),
                0.into(),
                0.into(),
            ],
        )?;
    }
    let permitted = permitted(runner, host);
    let Some(keep) = runner.caps else {
        if raised_ambient {
            let inheritable = if owns_user_namespace(runner) { 0 } else { host.inheritable };
            capset(builder, Location::Capset, permitted, permitted, inheritable)?;
        }
        return Ok(0);
    };
    if keep != 0 {
        // What is kept must also survive the exec of a program whose uid is not 0: as ambient.
        capset(builder, Location::Capset, permitted, permitted, keep)?;
        raise_ambient(builder, Location::CapAmbient, keep)?;
    }
    let mut left_out = 0;
    if may_set_pcap(runner, host) {
        builder.call(
            Location::Securebits,
            libc::SYS_prctl,
            &[libc::PR_SET_SECUREBITS.into(), SECUREBITS.into()],
        )?;
    } else if !runner.no_new_privs && is_root(runner, host) {
        // Its exec would bring back whatever the bounding set still holds.
        return Err(Error::with_message(
            Location::Securebits,
            libc::EPERM,
            format_args!("caps: uid 0 loses them only with CAP_SETPCAP or no_new_privs"),
        ));
    } else {
        left_out |= SBX_UNENFORCED_SECUREBITS;
    }
    capset(builder, Location::Capset, keep, keep, keep)?;
    Ok(left_out)
}

/// True if an exec treats the program as root, outside of user namespaces.
fn is_root(runner: &Runner, host: &Host) -> bool {
    runner.credential.as_ref().map_or(host.euid, |credential| credential.uid) == 0
}

fn raise_ambient(builder: &mut Builder, location: Location, set: u64) -> Result<()> {
    for (first, count) in runs(set) {
        let raise = Arg::from(PR_CAP_AMBIENT_RAISE);
        let args = [libc::PR_CAP_AMBIENT.into(), raise, first.into(), 0.into(), 0.into()];
        builder.call(location, libc::SYS_prctl, &args)?.index(first).repeat(count, 2);
    }
    Ok(())
}

fn may_set_pcap(runner: &Runner, host: &Host) -> bool {
    owns_user_namespace(runner) || host.may(CAP_SETPCAP)
}

/// The inheritable set of the child as it is now.
fn inheritable(runner: &Runner, host: &Host, raised_ambient: bool) -> u64 {
    match (raised_ambient, owns_user_namespace(runner)) {
        (true, _) => permitted(runner, host),
        (false, true) => 0,
        (false, false) => host.inheritable,
    }
}

fn has_supplementary_groups() -> bool {
    // SAFETY: with a size of 0 it only counts.
    unsafe { libc::getgroups(0, core::ptr::null_mut()) > 0 }
}

fn capset(
    builder: &mut Builder,
    location: Location,
    effective: u64,
    permitted: u64,
    inheritable: u64,
) -> Result<()> {
    let header: Offset = builder.numbers(&[CAPABILITY_VERSION, 0])?;
    let half = |shift: u32| [effective, permitted, inheritable].map(|set| (set >> shift) as u32);
    let ([e0, p0, i0], [e1, p1, i1]) = (half(0), half(32));
    let sets = builder.numbers(&[e0, p0, i0, e1, p1, i1])?;
    builder.call(location, libc::SYS_capset, &[Arg::Data(header), Arg::Data(sets)])?;
    Ok(())
}

/// The runs of ones in a set: first bit and length.
fn runs(mut set: u64) -> impl Iterator<Item = (usize, usize)> {
    core::iter::from_fn(move || {
        if set == 0 {
            return None;
        }
        let first = set.trailing_zeros();
        let count = (set >> first).trailing_ones();
        set &= u64::MAX.checked_shl(first + count).unwrap_or(0);
        Some((first as usize, count as usize))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_the_set_once() {
        for set in [0, 1, 0b1011_0111, u64::MAX, 1 << 63, !0 << 1, 0x1ff_ffff_ffff & !(1 << 21)] {
            let mut seen = 0u64;
            for (first, count) in runs(set) {
                for bit in first..first + count {
                    assert_eq!(seen & 1 << bit, 0);
                    seen |= 1 << bit;
                }
            }
            assert_eq!(seen, set);
        }
        assert_eq!(runs(0b1011_0111).collect::<Vec<_>>(), [(0, 3), (4, 2), (7, 1)]);
    }
}
