//! What one value must look like, whichever setting it belongs to.
//!
//! Each function takes the setting's name, which begins the error's message.

use core::ffi::c_int;

use crate::error::{Error, Location, Result};
use crate::mem::{self, Text};

/// PATH_MAX: the kernel's limit for a path with its NUL.
const PATH_MAX: usize = 4096;
/// NAME_MAX: the limit for one part of a path.
const NAME_MAX: usize = 255;
/// The largest number a descriptor can have in the child: the kernel's default fs.nr_open.
const FD_MAX: c_int = 1 << 20;
/// The most entries argv, the environment or any other list of strings can have.
pub const STRINGS_MAX: usize = 1 << 20;
/// The most entries the fd map can have.
pub const FDS_MAX: usize = 1 << 16;

/// A descriptor of the host that is open now.
pub fn open_fd(name: &str, fd: c_int) -> Result<()> {
    if fd < 0 {
        return Err(Error::invalid(format_args!("{name}: {fd} is no file descriptor")));
    }
    if !crate::sys::is_open(fd) {
        return Err(Error::with_message(
            Location::Argument,
            libc::EBADF,
            format_args!("{name}: descriptor {fd} is not open"),
        ));
    }
    Ok(())
}

/// An open descriptor, or -1 for none.
pub fn open_fd_or_none(name: &str, fd: c_int) -> Result<Option<c_int>> {
    if fd == -1 {
        return Ok(None);
    }
    open_fd(name, fd)?;
    Ok(Some(fd))
}

/// A descriptor's number in the child.
pub fn child_fd(name: &str, fd: c_int) -> Result<()> {
    if !(0..=FD_MAX).contains(&fd) {
        return Err(Error::invalid(format_args!(
            "{name}: child_fd {fd} is not between 0 and {FD_MAX}"
        )));
    }
    Ok(())
}

/// No bit outside `known`.
pub fn bits(name: &str, given: u64, known: u64) -> Result<()> {
    match given & !known {
        0 => Ok(()),
        unknown => {
            Err(Error::invalid(format_args!("{name}: flags {unknown:#x} do not apply here")))
        }
    }
}

/// File mode bits.
pub fn mode(name: &str, mode: u32) -> Result<()> {
    if mode & !0o7777 != 0 {
        return Err(Error::invalid(format_args!("{name}: mode {mode:#o} has more than 07777")));
    }
    Ok(())
}

/// A mode without set-user-id and set-group-id: the kernel drops those from what a plan makes.
pub fn plain_mode(name: &str, mode: u32) -> Result<()> {
    if mode & !0o1777 != 0 {
        return Err(Error::invalid(format_args!("{name}: mode {mode:#o} has more than 01777")));
    }
    Ok(())
}

/// A list of strings that is short enough to count.
pub fn strings(name: &str, list: &[Text]) -> Result<()> {
    if list.len() > STRINGS_MAX {
        return Err(Error::invalid(format_args!("{name}: more than {STRINGS_MAX} strings")));
    }
    Ok(())
}

/// A string with 1 to `max` bytes.
pub fn word(name: &str, text: &Text, max: usize) -> Result<()> {
    if text.bytes().is_empty() {
        return Err(Error::invalid(format_args!("{name}: the string is empty")));
    }
    if text.bytes().len() > max {
        return Err(Error::invalid(format_args!("{name}: longer than {max} bytes")));
    }
    Ok(())
}

/// A path that the kernel can take.
pub fn path(name: &str, path: &Text) -> Result<()> {
    word(name, path, PATH_MAX - 1)?;
    if path.bytes().split(|&b| b == b'/').any(|part| part.len() > NAME_MAX) {
        return Err(Error::invalid(format_args!("{name}: a part is longer than {NAME_MAX} bytes")));
    }
    Ok(())
}

/// A path that begins at a root.
pub fn absolute(name: &str, text: &Text) -> Result<()> {
    path(name, text)?;
    if text.bytes().first() != Some(&b'/') {
        return Err(Error::invalid(format_args!("{name}: the path is not absolute")));
    }
    Ok(())
}

/// A path inside the new root, normalised: one slash between parts, none at the end, no ".".
/// ".." is refused: what it means depends on symbolic links that nobody has seen yet.
pub fn inside(name: &str, text: &Text) -> Result<Text> {
    absolute(name, text)?;
    let mut normal: Vec<u8> = Vec::new();
    for part in text.bytes().split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(Error::invalid(format_args!("{name}: the path has a \"..\""))),
            _ => {
                mem::push(&mut normal, b'/')?;
                mem::extend(&mut normal, part)?;
            }
        }
    }
    if normal.is_empty() {
        mem::push(&mut normal, b'/')?;
    }
    Ok(Text::from_bytes(&normal)?)
}

/// The same, for a place where something is put: never the root itself.
pub fn target(name: &str, text: &Text) -> Result<Text> {
    let normal = inside(name, text)?;
    if normal.bytes() == b"/" {
        return Err(Error::invalid(format_args!("{name}: the target is the root itself")));
    }
    Ok(normal)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A `Text` of a literal.
    pub fn text(s: &str) -> Text {
        Text::from_bytes(s.as_bytes()).unwrap()
    }

    /// Asserts that `result` is this errno at `Location::Argument`, and that its message begins
    /// with the setting's name.
    pub fn refused<T>(result: Result<T>, errno: i32, name: &str) -> Error {
        let error = result.err().expect("must be refused");
        assert_eq!((error.errno, error.location), (errno, Location::Argument), "{error:?}");
        assert!(error.message.as_str().starts_with(&format!("{name}: ")), "{error:?}");
        error
    }

    #[test]
    fn descriptors() {
        assert!(open_fd("x", 0).is_ok());
        refused(open_fd("x", -1), libc::EINVAL, "x");
        refused(open_fd("x", 999_999), libc::EBADF, "x");
        refused(open_fd("x", c_int::MAX), libc::EBADF, "x");
        assert_eq!(open_fd_or_none("x", -1).unwrap(), None);
        refused(open_fd_or_none("x", -2), libc::EINVAL, "x");
        assert!(child_fd("x", 0).is_ok() && child_fd("x", 1 << 20).is_ok());
        refused(child_fd("x", -1), libc::EINVAL, "x");
        refused(child_fd("x", (1 << 20) + 1), libc::EINVAL, "x");
    }

    #[test]
    fn paths() {
        refused(path("x", &text("")), libc::EINVAL, "x");
        assert!(path("x", &text("a/../b")).is_ok());
        let part = "a".repeat(255);
        assert!(path("x", &text(&part)).is_ok());
        refused(path("x", &text(&format!("/{part}a"))), libc::EINVAL, "x");
        let long = "/a".repeat(2048);
        refused(path("x", &text(&long)), libc::EINVAL, "x");
        assert!(path("x", &text(&long[..4095])).is_ok());
        refused(absolute("x", &text("a")), libc::EINVAL, "x");
    }

    #[test]
    fn paths_inside() {
        for (given, want) in
            [("/", "/"), ("//./", "/"), ("/a", "/a"), ("//a///b/./c/", "/a/b/c"), ("/...", "/...")]
        {
            assert_eq!(inside("x", &text(given)).unwrap(), text(want));
        }
        for given in ["", "a", "./a", "/..", "/a/..", "/a/../b", "../a"] {
            refused(inside("x", &text(given)), libc::EINVAL, "x");
        }
        refused(target("x", &text("/.")), libc::EINVAL, "x");
        assert_eq!(target("x", &text("/a/")).unwrap(), text("/a"));
    }

    #[test]
    fn small_values() {
        assert!(bits("x", 0b101, 0b111).is_ok());
        refused(bits("x", 0b1001, 0b111), libc::EINVAL, "x");
        assert!(mode("x", 0o7777).is_ok());
        refused(mode("x", 0o10000), libc::EINVAL, "x");
    }
}
