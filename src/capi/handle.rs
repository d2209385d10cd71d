//! Handles: a Rust value behind a pointer that C sees as an incomplete type.
//!
//! A word in front of the value tells a live handle from a freed one and from another type's. It
//! catches most uses after free and double frees; only the caller can exclude them all.

use core::mem::MaybeUninit;
use core::ptr::{addr_of, addr_of_mut};

use crate::error::{Error, Result};
use crate::mem;

/// A C type that stands for a Rust one.
pub trait Handle: Sized {
    /// The value behind the pointer.
    type Inside;
    /// The word of a live handle.
    const MAGIC: u64;
    /// What messages call it.
    const NAME: &'static str;
}

struct Guarded<T> {
    magic: u64,
    value: T,
}

/// Memory for a handle that is made later, when nothing may fail any more.
pub struct Room<H: Handle>(Box<MaybeUninit<Guarded<H::Inside>>>);

/// Reserves the memory of a handle.
pub fn reserve<H: Handle>() -> mem::Result<Room<H>> {
    mem::boxed(MaybeUninit::uninit()).map(Room)
}

impl<H: Handle> Room<H> {
    /// Makes the handle; `free` ends it.
    pub fn fill(self, value: H::Inside) -> *mut H {
        let room = Box::into_raw(self.0);
        // SAFETY: the room is ours alone, and aligned.
        unsafe { (*room).write(Guarded { magic: H::MAGIC, value }) };
        room.cast()
    }
}

fn check<H: Handle>(handle: *const H) -> Result<*const Guarded<H::Inside>> {
    let guarded: *const Guarded<H::Inside> = handle.cast();
    if handle.is_null() {
        return Err(Error::invalid(format_args!("{}: the handle is NULL", H::NAME)));
    }
    // SAFETY: a handle came from `fill`; reading the word of a freed one is what this check is for.
    if !guarded.is_aligned() || unsafe { addr_of!((*guarded).magic).read_volatile() } != H::MAGIC {
        return Err(Error::invalid(format_args!("{}: not a live handle", H::NAME)));
    }
    Ok(guarded)
}

/// The value behind a handle. The caller keeps it alive, and nobody changes it meanwhile.
pub unsafe fn get<'a, H: Handle>(handle: *const H) -> Result<&'a H::Inside> {
    let guarded = check(handle)?;
    // SAFETY: live, as `check` saw, and kept alive by the caller.
    Ok(unsafe { &(*guarded).value })
}

/// The value behind a handle, which nobody else uses meanwhile.
pub unsafe fn get_mut<'a, H: Handle>(handle: *mut H) -> Result<&'a mut H::Inside> {
    let guarded = check(handle)?.cast_mut();
    // SAFETY: live, as `check` saw, and nobody else's during this call, as the caller promises.
    Ok(unsafe { &mut (*guarded).value })
}

/// Ends a handle; NULL and a freed one are left alone.
pub unsafe fn free<H: Handle>(handle: *mut H) {
    let Ok(guarded) = check(handle) else { return };
    let guarded = guarded.cast_mut();
    // SAFETY: live, and from `fill`, which took it from a box of this type; volatile, because the
    // compiler would leave out a store to memory that is about to be freed.
    unsafe {
        addr_of_mut!((*guarded).magic).write_volatile(0);
        drop(Box::from_raw(guarded));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    struct Opaque;
    impl Handle for Opaque {
        type Inside = Rc<u8>;
        const MAGIC: u64 = 7;
        const NAME: &'static str = "opaque";
    }
    struct Other;
    impl Handle for Other {
        type Inside = Rc<u8>;
        const MAGIC: u64 = 8;
        const NAME: &'static str = "other";
    }

    #[test]
    fn life_of_a_handle() {
        let value = Rc::new(5);
        let handle = reserve::<Opaque>().unwrap().fill(value.clone());
        // SAFETY: a live handle, and pointers that `check` refuses.
        unsafe {
            assert_eq!(**get(handle).unwrap(), 5);
            assert_eq!(get(core::ptr::null::<Opaque>()).unwrap_err().errno, libc::EINVAL);
            assert_eq!(get(handle.cast::<Other>()).unwrap_err().errno, libc::EINVAL);
            free(handle.cast::<Other>());
            assert_eq!(Rc::strong_count(&value), 2);
            free(handle);
            assert_eq!(Rc::strong_count(&value), 1);
            free(core::ptr::null_mut::<Opaque>());
        }
    }

    #[test]
    fn a_freed_word_is_no_handle() {
        let freed = Guarded { magic: 0, value: Rc::new(1) };
        let handle = (&raw const freed).cast::<Opaque>();
        // SAFETY: readable memory of the right layout.
        assert_eq!(unsafe { get(handle) }.unwrap_err().errno, libc::EINVAL);
    }
}
