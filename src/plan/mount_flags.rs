//! From SBX_MOUNT_* and mount(2)'s own flags to what the kernel takes, and overlayfs' options.

use super::root::attr;
use crate::error::Result;
use crate::flags::*;
use crate::mem::{self, Text};

/// MS_RDONLY unless the entry is writable.
pub fn read_only(flags: u32) -> u64 {
    if flags & SBX_MOUNT_WRITABLE == 0 { libc::MS_RDONLY } else { 0 }
}

/// What is forbidden unless a flag allows it, and what only a flag forbids.
fn restrictions(flags: u32, suid: u64, dev: u64, exec: u64) -> u64 {
    (if flags & SBX_MOUNT_SUID == 0 { suid } else { 0 })
        | (if flags & SBX_MOUNT_DEV == 0 { dev } else { 0 })
        | (if flags & SBX_MOUNT_NOEXEC != 0 { exec } else { 0 })
}

/// MS_* for what is mounted by mount(2).
pub fn ms_flags(flags: u32) -> u64 {
    restrictions(flags, libc::MS_NOSUID, libc::MS_NODEV, libc::MS_NOEXEC)
}

/// MOUNT_ATTR_* for a bind.
pub fn bind_attributes(flags: u32) -> u64 {
    restrictions(flags, attr::NOSUID, attr::NODEV, attr::NOEXEC)
        | if flags & SBX_MOUNT_WRITABLE == 0 { attr::RDONLY } else { 0 }
}

/// MOUNT_ATTR_* for a bind with mount(2)'s flags.
pub fn raw_attributes(flags: u64) -> u64 {
    [
        (libc::MS_RDONLY, attr::RDONLY),
        (libc::MS_NOSUID, attr::NOSUID),
        (libc::MS_NODEV, attr::NODEV),
        (libc::MS_NOEXEC, attr::NOEXEC),
    ]
    .iter()
    .filter(|(ms, _)| flags & ms != 0)
    .fold(0, |all, (_, attribute)| all | attribute)
}

/// overlayfs options; a backslash keeps separators in names from being taken for such.
pub fn overlay_options(lower: &[Text], upper: Option<&(Text, Text)>) -> Result<Vec<u8>> {
    let mut options = mem::copy(b"lowerdir=".as_slice())?;
    for (n, path) in lower.iter().enumerate() {
        if n > 0 {
            mem::push(&mut options, b':')?;
        }
        escape(&mut options, path.bytes())?;
    }
    if let Some((upper, work)) = upper {
        mem::extend(&mut options, b",upperdir=")?;
        escape(&mut options, upper.bytes())?;
        mem::extend(&mut options, b",workdir=")?;
        escape(&mut options, work.bytes())?;
    }
    Ok(options)
}

fn escape(options: &mut Vec<u8>, path: &[u8]) -> Result<()> {
    for &byte in path {
        if matches!(byte, b':' | b',' | b'\\') {
            mem::push(options, b'\\')?;
        }
        mem::push(options, byte)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_allowed_is_forbidden() {
        let all = attr::RDONLY | attr::NOSUID | attr::NODEV;
        assert_eq!(bind_attributes(0), all);
        assert_eq!(bind_attributes(SBX_MOUNT_WRITABLE), attr::NOSUID | attr::NODEV);
        assert_eq!(bind_attributes(SBX_MOUNT_NOEXEC), all | attr::NOEXEC);
        let everything = SBX_MOUNT_WRITABLE | SBX_MOUNT_SUID | SBX_MOUNT_DEV;
        assert_eq!((bind_attributes(everything), ms_flags(everything)), (0, 0));
        assert_eq!(raw_attributes(libc::MS_BIND | libc::MS_RDONLY), attr::RDONLY);
    }

    #[test]
    fn separators_in_names_are_escaped() {
        let text = |bytes: &[u8]| Text::from_bytes(bytes).unwrap();
        let upper = (text(b"/u"), text(b"/w,x"));
        let options = overlay_options(&[text(b"/a:b"), text(b"/c")], Some(&upper)).unwrap();
        assert_eq!(options, b"lowerdir=/a\\:b:/c,upperdir=/u,workdir=/w\\,x");
    }
}
