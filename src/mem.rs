//! Memory that can run out: the few allocation helpers everything else uses.
//!
//! A library inside somebody's server must not abort it when memory is short. `Vec::push`,
//! `Box::new` and `to_vec` abort; these return an error instead. Nothing outside this file
//! allocates in any other way.

use core::ffi::{CStr, c_char};

/// Memory ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

/// What an allocation gives.
pub type Result<T> = core::result::Result<T, OutOfMemory>;

/// Appends one value.
pub fn push<T>(vec: &mut Vec<T>, value: T) -> Result<()> {
    vec.try_reserve(1).map_err(|_| OutOfMemory)?;
    vec.push(value);
    Ok(())
}

/// Appends a slice.
pub fn extend<T: Copy>(vec: &mut Vec<T>, values: &[T]) -> Result<()> {
    vec.try_reserve(values.len()).map_err(|_| OutOfMemory)?;
    vec.extend_from_slice(values);
    Ok(())
}

/// Copies a slice into a vector of its own.
pub fn copy<T: Copy>(values: &[T]) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(values.len()).map_err(|_| OutOfMemory)?;
    vec.extend_from_slice(values);
    Ok(vec)
}

/// Moves a value to the heap.
pub fn boxed<T>(value: T) -> Result<Box<T>> {
    const { assert!(size_of::<T>() != 0) };
    let layout = core::alloc::Layout::new::<T>();
    // SAFETY: the layout's size is not zero (checked above, at compile time).
    let memory = unsafe { std::alloc::alloc(layout) }.cast::<T>();
    if memory.is_null() {
        return Err(OutOfMemory);
    }
    // SAFETY: fresh memory of T's own layout from the global allocator, which is what Box frees.
    unsafe {
        memory.write(value);
        Ok(Box::from_raw(memory))
    }
}

/// Copies that can fail, for what `Clone` would abort on.
pub trait TryClone: Sized {
    /// A copy that shares nothing with the original.
    fn try_clone(&self) -> Result<Self>;
}

impl<T: TryClone> TryClone for Vec<T> {
    fn try_clone(&self) -> Result<Self> {
        let mut vec = Vec::new();
        vec.try_reserve_exact(self.len()).map_err(|_| OutOfMemory)?;
        for value in self {
            vec.push(value.try_clone()?);
        }
        Ok(vec)
    }
}

impl<T: TryClone> TryClone for Option<T> {
    fn try_clone(&self) -> Result<Self> {
        self.as_ref().map(TryClone::try_clone).transpose()
    }
}

/// A C string of our own: bytes that end with their only NUL.
#[derive(Debug, PartialEq, Eq)]
pub struct Text(Vec<u8>);

impl Text {
    /// Copies a C string.
    pub fn new(text: &CStr) -> Result<Text> {
        copy(text.to_bytes_with_nul()).map(Text)
    }

    /// Copies bytes that hold no NUL and adds one; bytes from the first NUL on are left out.
    pub fn from_bytes(bytes: &[u8]) -> Result<Text> {
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        let mut vec = Vec::new();
        vec.try_reserve_exact(end + 1).map_err(|_| OutOfMemory)?;
        vec.extend_from_slice(&bytes[..end]);
        vec.push(0);
        Ok(Text(vec))
    }

    /// The bytes without the NUL.
    pub fn bytes(&self) -> &[u8] {
        &self.0[..self.0.len() - 1]
    }

    /// The bytes with the NUL.
    pub fn bytes_with_nul(&self) -> &[u8] {
        &self.0
    }

    /// The string itself.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }

    /// For a system call; valid as long as `self`.
    pub fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }
}

impl TryClone for Text {
    fn try_clone(&self) -> Result<Self> {
        copy(&self.0).map(Text)
    }
}

/// `Clone` for types whose copies allocate nothing.
macro_rules! plain {
    ($($t:ty),*) => { $(impl TryClone for $t { fn try_clone(&self) -> Result<Self> { Ok(*self) } })* };
}
plain!(u8, i32, u32, u64, libc::sock_filter);

/// Formats into a buffer; what does not fit is cut.
pub fn format_into<'a>(buffer: &'a mut [u8], args: core::fmt::Arguments) -> &'a [u8] {
    struct Cursor<'a>(&'a mut [u8], usize);
    impl core::fmt::Write for Cursor<'_> {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            let room = &mut self.0[self.1..];
            let len = text.len().min(room.len());
            room[..len].copy_from_slice(&text.as_bytes()[..len]);
            self.1 += len;
            Ok(())
        }
    }
    let mut cursor = Cursor(buffer, 0);
    // Writing into a Cursor cannot fail.
    let _ = core::fmt::Write::write_fmt(&mut cursor, args);
    let Cursor(buffer, len) = cursor;
    &buffer[..len]
}
