//! Structs that may grow: they begin with their own size, so that a caller who was compiled
//! against an older or a newer header is understood. The rule of openat2(2) and clone3(2).

use crate::error::{Error, Location, Result};

use super::convert::not_null;

/// The longest struct anybody will ever pass: one page.
const SIZE_MAX: usize = 4096;

/// A struct that begins with its size.
///
/// # Safety
/// `repr(C)`, with a `usize` as its first field, and integers and pointers as the others.
pub unsafe trait Growing: Sized {
    /// What messages call it.
    const NAME: &'static str;
    /// Where its fields end. A size that is none of these, and no longer struct's, is a mistake.
    const ENDS: &'static [usize];
    /// The struct of a caller who says nothing.
    fn absent() -> Self;
}

/// The size a caller says; it covers a whole number of fields.
unsafe fn size_of_callers<T: Growing>(from: *const T) -> Result<usize> {
    not_null(T::NAME, from)?;
    // SAFETY: not NULL, so there is a struct that begins with its size.
    let size = unsafe { from.cast::<usize>().read_unaligned() };
    if size > size_of::<T>() || T::ENDS.contains(&size) {
        return Ok(size);
    }
    Err(Error::invalid(format_args!("{}: a size of {size} is no version of the struct", T::NAME)))
}

/// Copies a struct in. Fields that a short one lacks are absent; what a long one has more must be
/// zero, or this library does not know what is being asked for.
pub unsafe fn read<T: Growing>(from: *const T) -> Result<T> {
    // SAFETY: passed on.
    let size = unsafe { size_of_callers(from) }?;
    if size > size_of::<T>() {
        // SAFETY: the struct is `size` bytes long; a size that no struct has is not believed.
        let more = size > SIZE_MAX
            || (size_of::<T>()..size).any(|at| unsafe { *from.cast::<u8>().add(at) } != 0);
        if more {
            return Err(Error::with_message(
                Location::Argument,
                libc::E2BIG,
                format_args!("{}: it says more than this version of the library knows", T::NAME),
            ));
        }
    }
    let mut value = T::absent();
    let known = size.min(size_of::<T>());
    // SAFETY: both sides have `known` bytes, and any bytes are a value of T.
    unsafe {
        core::ptr::copy_nonoverlapping(from.cast::<u8>(), (&raw mut value).cast::<u8>(), known);
    }
    Ok(value)
}

/// Checks a struct that will be filled, before anything is done that could not be told.
pub unsafe fn check_out<T: Growing>(to: *const T) -> Result<()> {
    // SAFETY: passed on.
    unsafe { size_of_callers(to) }.map(|_| ())
}

/// Copies a struct out, its size apart: as much as the caller's has room for, nothing beyond.
pub unsafe fn write<T>(to: *mut T, size: usize, value: &T) {
    let head = size_of::<usize>();
    let known = size.min(size_of::<T>());
    if known > head {
        // SAFETY: both sides have `known` bytes, and bytes have no alignment.
        unsafe {
            core::ptr::copy_nonoverlapping(
                (&raw const *value).cast::<u8>().add(head),
                to.cast::<u8>().add(head),
                known - head,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[derive(Debug, PartialEq, Clone, Copy)]
    #[repr(C)]
    struct Now {
        size: usize,
        a: i32,
        b: i32,
        c: u64,
    }
    // SAFETY: repr(C), size first, integers.
    unsafe impl Growing for Now {
        const NAME: &'static str = "now";
        const ENDS: &'static [usize] =
            &[offset_of!(Now, a), offset_of!(Now, b), offset_of!(Now, c), size_of::<Now>()];
        fn absent() -> Now {
            Now { size: 0, a: -1, b: -1, c: 0 }
        }
    }
    #[repr(C)]
    struct Later {
        now: Now,
        d: u64,
    }

    fn sized(size: usize) -> Later {
        Later { now: Now { size, a: 1, b: 2, c: 3 }, d: 0 }
    }

    fn read_errno(later: &Later) -> i32 {
        // SAFETY: a Later begins with a Now; sizes beyond its own are refused before they are used.
        unsafe { read(&later.now) }.map_or_else(|error| error.errno, |_| 0)
    }

    #[test]
    fn short_structs_lack_fields() {
        for (size, a, b, c) in [(24, 1, 2, 3), (16, 1, 2, 0), (12, 1, -1, 0), (8, -1, -1, 0)] {
            // SAFETY: a whole Now is there.
            let now = unsafe { read(&sized(size).now) }.unwrap();
            assert_eq!(now, Now { size, a, b, c });
        }
        for size in [0, 1, 7, 9, 13, 20, 23] {
            assert_eq!(read_errno(&sized(size)), libc::EINVAL, "{size}");
        }
    }

    #[test]
    fn long_structs_end_with_zeros() {
        let mut later = sized(size_of::<Later>());
        assert_eq!(read_errno(&later), 0);
        later.d = 1 << 56;
        assert_eq!(read_errno(&later), libc::E2BIG);
        assert_eq!(read_errno(&sized(SIZE_MAX + 1)), libc::E2BIG);
        assert_eq!(read_errno(&sized(usize::MAX)), libc::E2BIG);
    }

    #[test]
    fn null() {
        // SAFETY: NULL is what is asked about.
        let error = unsafe { read(core::ptr::null::<Now>()) }.unwrap_err();
        assert_eq!((error.errno, error.message.as_str()), (libc::EINVAL, "now: NULL"));
        // SAFETY: NULL is what is asked about.
        assert!(unsafe { check_out(core::ptr::null::<Now>()) }.is_err());
    }

    #[test]
    fn only_what_fits_goes_out() {
        let value = Now { size: 99, a: 7, b: 8, c: 9 };
        for (size, a, b, c) in
            [(0, 1, 2, 3), (8, 1, 2, 3), (12, 7, 2, 3), (16, 7, 8, 3), (24, 7, 8, 9), (32, 7, 8, 9)]
        {
            let mut later = sized(size);
            later.d = 5;
            // SAFETY: a whole Later is there, longer than any of these sizes.
            unsafe { write(&mut later.now, size, &value) };
            assert_eq!((later.now, later.d), (Now { size, a, b, c }, 5));
        }
    }
}
