//! How strings, lists and arrays come in, and how text goes out.

use core::ffi::{CStr, c_char};
use core::fmt;

use crate::error::{Error, Result};
use crate::mem::{self, Text};
use crate::runner::valid::STRINGS_MAX;

/// An argument that must not be NULL.
pub fn not_null<T>(name: &str, pointer: *const T) -> Result<()> {
    if pointer.is_null() {
        return Err(Error::invalid(format_args!("{name}: NULL")));
    }
    Ok(())
}

/// A C string.
pub unsafe fn text(name: &str, from: *const c_char) -> Result<Text> {
    not_null(name, from)?;
    // SAFETY: not NULL, so a C string.
    Ok(Text::new(unsafe { CStr::from_ptr(from) })?)
}

/// A C string, or none for NULL.
pub unsafe fn optional_text(from: *const c_char) -> Result<Option<Text>> {
    if from.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, so a C string.
    Ok(Some(Text::new(unsafe { CStr::from_ptr(from) })?))
}

/// A NULL-terminated list of C strings, or of so many that the setting will refuse it.
pub unsafe fn texts(name: &str, from: *const *const c_char) -> Result<Vec<Text>> {
    not_null(name, from)?;
    let mut list = Vec::new();
    while list.len() <= STRINGS_MAX {
        // SAFETY: every entry up to the NULL can be read.
        let entry = unsafe { *from.add(list.len()) };
        if entry.is_null() {
            break;
        }
        // SAFETY: an entry of the list is a C string.
        mem::push(&mut list, Text::new(unsafe { CStr::from_ptr(entry) })?)?;
    }
    Ok(list)
}

/// An array of `n` values; NULL only with 0. `max` keeps a wild count from becoming a wild slice.
pub unsafe fn slice<'a, T>(name: &str, from: *const T, n: usize, max: usize) -> Result<&'a [T]> {
    if n == 0 {
        return Ok(&[]);
    }
    not_null(name, from)?;
    if !from.is_aligned() {
        return Err(Error::invalid(format_args!("{name}: the pointer is not aligned")));
    }
    if n > max {
        return Err(Error::invalid(format_args!("{name}: {n} entries are more than {max}")));
    }
    // SAFETY: n aligned values can be read there, and `max` of them are no more than memory holds.
    Ok(unsafe { core::slice::from_raw_parts(from, n) })
}

/// A caller's text buffer, filled by snprintf's rule: cut to fit, always terminated, and the whole
/// length counted.
pub struct Buffer {
    to: *mut c_char,
    size: usize,
    wanted: usize,
}

impl Buffer {
    /// NULL only with a size of 0.
    pub unsafe fn new(name: &str, to: *mut c_char, size: usize) -> Result<Buffer> {
        if size != 0 {
            not_null(name, to)?;
            // SAFETY: `size` bytes can be written there.
            unsafe { to.write(0) };
        }
        Ok(Buffer { to, size, wanted: 0 })
    }

    /// The length of the whole text, without its NUL.
    pub fn wanted(&self) -> usize {
        self.wanted
    }
}

impl fmt::Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.size.saturating_sub(self.wanted.saturating_add(1));
        let n = text.len().min(room);
        if n != 0 {
            // SAFETY: n bytes and a NUL fit after what is there: wanted + n + 1 <= size.
            unsafe {
                let end = self.to.add(self.wanted);
                core::ptr::copy_nonoverlapping(text.as_ptr().cast(), end, n);
                end.add(n).write(0);
            }
        }
        self.wanted = self.wanted.saturating_add(text.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::fmt::Write;
    use core::ptr::null;

    #[test]
    fn strings() {
        let list = [c"a".as_ptr(), c"".as_ptr(), null()];
        // SAFETY: NULL, or what the type says.
        unsafe {
            assert_eq!(texts("x", list.as_ptr()).unwrap().len(), 2);
            assert_eq!(texts("x", &null()).unwrap().len(), 0);
            assert_eq!(texts("x", null()).unwrap_err().message.as_str(), "x: NULL");
            assert_eq!(text("x", c"ab".as_ptr()).unwrap().bytes(), b"ab");
            assert!(text("x", null()).is_err() && optional_text(null()).unwrap().is_none());
        }
    }

    #[test]
    fn arrays() {
        let values = [1u32, 2];
        let odd = values.as_ptr().cast::<u8>().wrapping_add(1).cast::<u32>();
        // SAFETY: what cannot be read is refused by pointer, alignment and count alone.
        unsafe {
            assert_eq!(slice("x", values.as_ptr(), 2, 2).unwrap(), [1, 2]);
            assert_eq!(slice("x", null::<u32>(), 0, 2).unwrap(), []);
            assert!(slice("x", null::<u32>(), 1, 2).is_err());
            assert!(slice("x", odd, 1, 2).is_err());
            assert!(slice("x", values.as_ptr(), 3, 2).is_err());
            assert!(slice("x", values.as_ptr(), usize::MAX, 2).is_err());
        }
    }

    #[test]
    fn text_goes_out_by_snprintfs_rule() {
        for size in 0..=8 {
            let mut memory = [b'#' as c_char; 8];
            // SAFETY: `size` bytes of `memory` are there.
            let mut buffer = unsafe { Buffer::new("x", memory.as_mut_ptr(), size) }.unwrap();
            buffer.write_str("abc").unwrap();
            buffer.write_str("").unwrap();
            buffer.write_str("de").unwrap();
            assert_eq!(buffer.wanted(), 5);
            let fits = size.saturating_sub(1).min(5);
            assert!(memory[..fits].iter().zip(b"abcde").all(|(&a, &b)| a == b as c_char));
            assert!(size == 0 || memory[fits] == 0);
            assert!(memory[size..].iter().all(|&b| b == b'#' as c_char));
        }
        // SAFETY: refused by the pointer alone.
        assert!(unsafe { Buffer::new("x", core::ptr::null_mut(), 1) }.is_err());
    }
}
