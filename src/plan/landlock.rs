//! Steps for Landlock (landlock(7)): a ruleset, its rules, and the restriction.

use super::builder::{Arg, Builder};
use super::host::landlock_abi;
use crate::child::plan::op;
use crate::error::{Error, Location, Result};
use crate::flags::{SBX_UNENFORCED_LANDLOCK, SBX_UNENFORCED_MOUNT};
use crate::runner::{Landlock, Runner};

const RULE_PATH_BENEATH: u64 = 1;
const RULE_NET_PORT: u64 = 2;

/// What an ABI handles: file system, network, scopes.
fn known(abi: i32) -> (u64, u64, u64) {
    let fs = match abi {
        ..=0 => 0,
        1 => (1 << 13) - 1,
        2 => (1 << 14) - 1,
        3 | 4 => (1 << 15) - 1,
        _ => (1 << 16) - 1,
    };
    (fs, if abi >= 4 { 3 } else { 0 }, if abi >= 6 { 3 } else { 0 })
}

/// An error that names what this ABI lacks of what is wanted.
pub fn supported(wanted: &Landlock, abi: i32) -> Result<()> {
    let (fs, net, scopes) = known(abi);
    let missing = [
        ("handled_fs", wanted.handled_fs & !fs),
        ("handled_net", wanted.handled_net & !net),
        ("scoped", wanted.scoped & !scopes),
    ];
    match missing.iter().find(|(_, bits)| *bits != 0) {
        None => Ok(()),
        Some((name, bits)) => Err(Error::with_message(
            Location::LandlockRuleset,
            libc::EOPNOTSUPP,
            format_args!("this kernel's Landlock (ABI {abi}) lacks {name} {bits:#x}"),
        )),
    }
}

/// Adds the steps; returns what is left out, as bits for the result.
pub fn add(builder: &mut Builder, runner: &Runner) -> Result<u64> {
    if !runner.uses_landlock() {
        return Ok(0);
    }
    let wanted = &runner.landlock;
    let abi = landlock_abi();
    let (fs, net, scopes) = known(abi);
    let handled = [wanted.handled_fs & fs, wanted.handled_net & net, wanted.scoped & scopes];
    let left_out = if supported(wanted, abi).is_err() { SBX_UNENFORCED_LANDLOCK } else { 0 };
    if handled == [0; 3] {
        return Ok(left_out);
    }
    // struct landlock_ruleset_attr grew with the ABI: an older kernel accepts a longer one as long
    // as what it does not know is zero.
    let attr = builder.words(&handled)?;
    let ruleset = builder.slot()?;
    builder
        .call(
            Location::LandlockRuleset,
            libc::SYS_landlock_create_ruleset,
            &[Arg::Data(attr), 24.into(), 0.into()],
        )?
        .out(ruleset);

    for (n, path) in wanted.paths.iter().enumerate() {
        let access = path.access & handled[0];
        if access == 0 {
            continue;
        }
        let start = builder.position();
        let name = builder.text(path.path.bytes())?;
        let opened = builder.slot()?;
        builder
            .call(
                Location::LandlockRule,
                libc::SYS_openat,
                &[libc::AT_FDCWD.into(), name, (libc::O_PATH | libc::O_CLOEXEC).into(), 0.into()],
            )?
            .index(n)
            .out(opened);
        if path.optional {
            builder.skip_on_any_error(start, SBX_UNENFORCED_MOUNT);
        }
        // struct landlock_path_beneath_attr, packed: u64 access, s32 descriptor.
        let rule = builder.words(&[access, 0])?;
        let fd_field = super::builder::Offset(rule.0 + 8);
        builder
            .add(op::STORE, Location::LandlockRule, 0, &[Arg::Data(fd_field), opened.into()])?
            .index(n);
        builder
            .call(
                Location::LandlockRule,
                libc::SYS_landlock_add_rule,
                &[ruleset.into(), RULE_PATH_BENEATH.into(), Arg::Data(rule), 0.into()],
            )?
            .index(n);
        builder.close(Location::LandlockRule, opened)?;
        if path.optional {
            builder.land_here(start);
        }
    }
    for (n, port) in wanted.ports.iter().enumerate() {
        let access = port.access & handled[1];
        if access == 0 {
            continue;
        }
        let rule = builder.words(&[access, u64::from(port.port)])?;
        builder
            .call(
                Location::LandlockRule,
                libc::SYS_landlock_add_rule,
                &[ruleset.into(), RULE_NET_PORT.into(), Arg::Data(rule), 0.into()],
            )?
            .index(n);
    }
    builder.call(
        Location::LandlockRestrict,
        libc::SYS_landlock_restrict_self,
        &[ruleset.into(), 0.into()],
    )?;
    builder.close(Location::LandlockRestrict, ruleset)?;
    Ok(left_out)
}
