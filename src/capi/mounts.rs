//! Setters: the new root and what is put into it.

use core::ffi::{c_char, c_int, c_void};

use super::convert::{optional_text, slice, text, texts};
use super::error::sbx_error;
use super::runner::{sbx_runner, set};
use crate::runner::mounts::FILE_MAX;

/// A new root, entered by pivot_root(2), so that the old one is gone from the mount namespace
/// (SBX_NS_MNT, else -EINVAL at the start). `rootfs` is an absolute path of the host; NULL: a
/// fresh tmpfs. Nosuid and nodev throughout. Sealed read-only at the end, unless `flags` has SBX_ROOT_WRITABLE. Excludes
/// sbx_set_chroot: -EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_pivot_root(
    runner: *mut sbx_runner,
    rootfs: *const c_char,
    flags: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_pivot_root(optional_text(rootfs)?, flags)) }
}

/// A new root, entered by chroot(2): for a prepared tree, which is not sealed, and where
/// pivot_root cannot work (the initial ramfs). `rootfs` is an absolute path of the host; NULL: a
/// fresh tmpfs, sealed read-only at the end (SBX_NS_MNT, else -EINVAL at the start). The host's
/// own root and directory stay where they are. No jail for a program that keeps CAP_SYS_CHROOT.
/// Excludes sbx_set_pivot_root: -EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_set_chroot(
    runner: *mut sbx_runner,
    rootfs: *const c_char,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.set_chroot(optional_text(rootfs)?)) }
}

/// mount(2): `source`, `fstype` and `data` may be NULL where the kernel allows it, `ms_flags` are
/// MS_*. With MS_BIND the source is absolute, and of the other flags MS_REC, MS_RDONLY, MS_NOSUID,
/// MS_NODEV and MS_NOEXEC are applied, to submounts too, which mount(2) alone does not do; the rest
/// is -EINVAL there. A propagation flag stands alone, but for MS_REC. MS_REMOUNT, MS_MOVE and the
/// kernel's own flags are -EINVAL. Of SBX_MOUNT_* only OPTIONAL applies. The target may be another
/// entry's.
///
/// For this function and the sbx_add_* below: entries are made in the order of the calls. A
/// `target` is absolute, without "..", and is resolved inside the new root: symbolic links cannot
/// lead out. What is missing of it is created, in an existing root for good; without a new root it
/// has to be there. Two entries with the same target are -EINVAL. They
/// need SBX_NS_MNT at the start. A flag that does not apply to the kind of entry is -EINVAL. An
/// entry that the kernel refuses is named by its index: the order of the calls to all of these
/// functions together.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_mount(
    runner: *mut sbx_runner,
    source: *const c_char,
    target: *const c_char,
    fstype: *const c_char,
    ms_flags: u64,
    data: *const c_char,
    flags: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            let (source, fstype) = (optional_text(source)?, optional_text(fstype)?);
            let target = text("mount", target)?;
            runner.add_mount(source, &target, fstype, ms_flags, optional_text(data)?, flags)
        })
    }
}

/// A file or directory of the host (absolute `source`), with the mounts below it. Read-only,
/// nosuid and nodev, submounts included, unless `flags` says otherwise: SBX_MOUNT_WRITABLE,
/// _OPTIONAL, _NOEXEC, _SUID, _DEV, _NONRECURSIVE. See open_tree(2), mount_setattr(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_bind(
    runner: *mut sbx_runner,
    source: *const c_char,
    target: *const c_char,
    flags: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.add_bind(text("bind", source)?, &text("bind", target)?, flags)
        })
    }
}

/// An empty tmpfs, always writable, of at most `bytes` bytes and `inodes` files (0: the kernel's
/// default: half of the memory), whose root has `mode`. Flags: SBX_MOUNT_WRITABLE (changes
/// nothing), _OPTIONAL, _NOEXEC, _SUID, _DEV. See tmpfs(5).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_tmpfs(
    runner: *mut sbx_runner,
    target: *const c_char,
    bytes: u64,
    inodes: u64,
    mode: u32,
    flags: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.add_tmpfs(&text("tmpfs", target)?, bytes, inodes, mode, flags)
        })
    }
}

/// procfs of the sandbox's pid namespace; read-only, nosuid, nodev, noexec. Flags:
/// SBX_MOUNT_WRITABLE, _OPTIONAL, _HIDEPID. In a container whose own /proc is partly covered the
/// kernel refuses it to user namespaces: EPERM. See proc(5).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_proc(
    runner: *mut sbx_runner,
    target: *const c_char,
    flags: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.add_proc(&text("proc", target)?, flags)) }
}

/// A minimal /dev: null, zero, full, random, urandom, and the links fd, stdin, stdout, stderr. With
/// SBX_MOUNT_DEVPTS also pts, a devpts instance of its own, and ptmx. The directory is read-only.
/// Flags: SBX_MOUNT_WRITABLE, _OPTIONAL, _DEVPTS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_dev(
    runner: *mut sbx_runner,
    target: *const c_char,
    flags: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.add_dev(&text("dev", target)?, flags)) }
}

/// overlayfs: `lower` is a NULL-terminated list of at most 64 host directories, the topmost first.
/// `upper` and `work` go together, on one file system; both NULL: an overlay of at least two lowers.
/// Read-only, unless `flags` has SBX_MOUNT_WRITABLE, which needs an upper: it takes what is written.
/// Flags: SBX_MOUNT_WRITABLE, _OPTIONAL, _NOEXEC, _SUID, _DEV. All paths together have about 4000
/// bytes, as mount(2) takes one page of options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_overlay(
    runner: *mut sbx_runner,
    lower: *const *const c_char,
    upper: *const c_char,
    work: *const c_char,
    target: *const c_char,
    flags: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            let (upper, work) = (optional_text(upper)?, optional_text(work)?);
            runner.add_overlay(
                texts("overlay", lower)?,
                upper,
                work,
                &text("overlay", target)?,
                flags,
            )
        })
    }
}

/// A symbolic link at `target` that points to `link_text`, which is not looked at. In an
/// existing root it stays after the run; one with the same text that is there already is as good.
/// Flags: SBX_MOUNT_OPTIONAL. See symlink(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_symlink(
    runner: *mut sbx_runner,
    link_text: *const c_char,
    target: *const c_char,
    flags: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            runner.add_symlink(text("symlink", link_text)?, &text("symlink", target)?, flags)
        })
    }
}

/// A file with these `size` bytes (copied; at most 1 GiB; NULL only with 0) and this mode (01777
/// at most). In an existing root it is a read-only mount: nothing is written there but, where it is
/// missing, an empty file as its target. Flags: SBX_MOUNT_OPTIONAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_file(
    runner: *mut sbx_runner,
    target: *const c_char,
    data: *const c_void,
    size: usize,
    mode: u32,
    flags: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe {
        set(runner, error, |runner| {
            let data = slice("file", data.cast::<u8>(), size, FILE_MAX)?;
            runner.add_file(&text("file", target)?, data, mode, flags)
        })
    }
}

/// An empty directory with this mode (01777 at most). One that is there already stays as it is; in
/// an existing root the new one stays after the run. Flags: SBX_MOUNT_OPTIONAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_dir(
    runner: *mut sbx_runner,
    target: *const c_char,
    mode: u32,
    flags: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.add_dir(&text("dir", target)?, mode, flags)) }
}

/// Hides a file or directory that is there: a directory is empty and read-only, a file is /dev/null.
/// Flags: SBX_MOUNT_OPTIONAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_add_mask(
    runner: *mut sbx_runner,
    target: *const c_char,
    flags: u32,
    error: *mut sbx_error,
) -> c_int {
    // SAFETY: the caller's pointers, by the contract in mod.rs.
    unsafe { set(runner, error, |runner| runner.add_mask(&text("mask", target)?, flags)) }
}
