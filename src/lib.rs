//! libsbx: starts a program that nobody trusts, inside a Linux sandbox. The parent thinks, the
//! child executes.
//!
//! | module | what it is |
//! |---|---|
//! | `capi` | the C surface: one file per noun, conversions only; include/sbx.h is generated from it |
//! | `flags` | the numbers of the C interface |
//! | `runner` | the recipe of a sandbox and its setters, which check each value alone |
//! | `launch` | what one start changes about the recipe |
//! | `plan` | recipe and launch become an ordered list of steps, every byte of it laid out |
//! | `start` | the host's side of a start: clone, maps, handshake, errors |
//! | `child` | what runs between clone and exec: a walk over the steps, on raw system calls |
//! | `init_program` | the small static program that staged starts and inits exec, carried in here |
//! | `notes` | what the init tells the host |
//! | `process` | a started program: wait, kill, and the end of its tree |
//! | `error` | which step failed, on which entry, with which errno, and whose fault it is |
//! | `sys` | system calls of the host that libc has no good name for |
//! | `mem` | allocation that can fail; nothing allocates in any other way |
//!
//! Read `plan` first: the order of its steps is the design.

#![deny(unsafe_op_in_unsafe_fn, missing_docs)]

pub mod capi;
pub mod child;
pub mod error;
pub mod flags;
pub mod init_program;
pub mod launch;
pub mod mem;
pub mod notes;
pub mod plan;
pub mod process;
pub mod runner;
pub mod start;
pub mod sys;
