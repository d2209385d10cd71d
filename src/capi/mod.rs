//! The C surface: conversions only. Each function checks its pointers, turns C values into Rust
//! ones, makes one call, and reports through `struct sbx_error`.
//!
//! The documentation comments here become the comments of include/sbx.h, and are written for its
//! readers. One contract stands behind every `unsafe` in these files, and is what the header asks
//! of a caller: a pointer is NULL, or points to what its type says, for the length that stands
//! beside it, for the duration of the call; a handle came from this library.
//!
//! | file | what is in it |
//! |---|---|
//! | `version` | versions, names of numbers, what the kernel has |
//! | `error` | `struct sbx_error`, filled in one place |
//! | `runner` | new, free, clone |
//! | `program`, `attributes`, `identity` | the runner's setters: what runs, and as whom |
//! | `mounts`, `restrict`, `control` | the runner's setters: behind which walls, and how it starts |
//! | `launch` | `struct sbx_launch`, describe, start |
//! | `process` | `sbx_process_*` |
//! | `handle`, `convert`, `sized`, `errno` | how handles, strings, growing structs and errnos cross |

// The C names are the names; their contract is the text above, not a Safety section in the header.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]
// A C prototype has as many arguments as its system call.
#![allow(clippy::too_many_arguments)]

pub mod attributes;
pub mod control;
mod convert;
mod errno;
pub mod error;
mod handle;
pub mod identity;
pub mod launch;
pub mod mounts;
pub mod process;
pub mod program;
pub mod restrict;
pub mod runner;
mod sized;
pub mod version;
