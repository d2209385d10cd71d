//! Versions, the names of numbers, and what this kernel has.

use core::ffi::{CStr, c_char, c_int};

use crate::error::Location;
use crate::flags::{
    SBX_BLAME_CALLER, SBX_BLAME_HOST, SBX_BLAME_NONE, SBX_BLAME_PROGRAM, SBX_BLAME_TRANSIENT,
    SBX_SHAPE_DIRECT, SBX_SHAPE_INIT, SBX_SHAPE_STAGED, SBX_VERSION_MAJOR, SBX_VERSION_MINOR,
    SBX_VERSION_PATCH,
};
use crate::plan::host::landlock_abi;

/// "MAJOR.MINOR.PATCH", terminated at compile time.
const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("the version holds a NUL"),
    };

const UNKNOWN: &CStr = c"unknown";

/// The version of the library that is running: `major << 16 | minor << 8 | patch`. The
/// SBX_VERSION_* macros are the version that the caller was compiled against.
#[unsafe(no_mangle)]
pub extern "C" fn sbx_version() -> u32 {
    SBX_VERSION_MAJOR << 16 | SBX_VERSION_MINOR << 8 | SBX_VERSION_PATCH
}

/// The same as text, "0.1.0". Static.
#[unsafe(no_mangle)]
pub extern "C" fn sbx_version_string() -> *const c_char {
    VERSION.as_ptr()
}

/// The name of sbx_error.location: "exec", "pivot_root", "uid_map", ...; "argument" for a bad
/// argument or setting; "unknown" for a number that this version does not have. Static.
#[unsafe(no_mangle)]
pub extern "C" fn sbx_location_name(location: u32) -> *const c_char {
    Location::from_number(location).map_or(UNKNOWN, Location::name).as_ptr()
}

/// The name of SBX_BLAME_*: "none", "caller", "host", "program", "transient"; else "unknown".
/// Static.
#[unsafe(no_mangle)]
pub extern "C" fn sbx_blame_name(blame: u32) -> *const c_char {
    match blame {
        SBX_BLAME_NONE => c"none",
        SBX_BLAME_CALLER => c"caller",
        SBX_BLAME_HOST => c"host",
        SBX_BLAME_PROGRAM => c"program",
        SBX_BLAME_TRANSIENT => c"transient",
        _ => UNKNOWN,
    }
    .as_ptr()
}

/// The name of SBX_SHAPE_*: "direct", "staged", "init"; else "unknown". Static.
#[unsafe(no_mangle)]
pub extern "C" fn sbx_shape_name(shape: u32) -> *const c_char {
    match shape {
        SBX_SHAPE_DIRECT => c"direct",
        SBX_SHAPE_STAGED => c"staged",
        SBX_SHAPE_INIT => c"init",
        _ => UNKNOWN,
    }
    .as_ptr()
}

/// The ABI version of this kernel's Landlock: 1 and up; 0 where there is none, or it is switched
/// off. See landlock(7).
#[unsafe(no_mangle)]
pub extern "C" fn sbx_landlock_abi() -> c_int {
    landlock_abi()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: *const c_char) -> &'static str {
        // SAFETY: every name is static and terminated.
        unsafe { CStr::from_ptr(name) }.to_str().unwrap()
    }

    #[test]
    fn one_version() {
        let version = sbx_version();
        let parts = [version >> 16, version >> 8 & 0xff, version & 0xff];
        assert_eq!(text(sbx_version_string()), parts.map(|part| part.to_string()).join("."));
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = Location::ALL
            .iter()
            .map(|&location| text(sbx_location_name(location as u32)))
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(!names.contains(&"unknown"));
        assert_eq!(text(sbx_location_name(u32::MAX)), "unknown");
        assert_eq!(text(sbx_blame_name(4)), "transient");
        assert_eq!(text(sbx_blame_name(5)), "unknown");
        assert_eq!(text(sbx_shape_name(2)), "init");
        assert_eq!(text(sbx_shape_name(3)), "unknown");
    }
}
