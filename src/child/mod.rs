//! The child: what runs between clone and exec.
//!
//! This code is compiled twice: into the library, where it runs in a process that shares the host's
//! memory, and into the embedded program (src/init), where it runs in memory of its own. In both it
//! walks a prepared plan, one raw system call after another. It allocates nothing, locks nothing,
//! calls nothing of libc, touches no thread-local storage and cannot panic: any of these would act
//! on the state of whichever thread of the host happened to call clone. A check of the disassembly
//! (scripts/check-child-code) proves it for every build.
//!
//! * `plan`: the format of a plan, a control block and a message.
//! * `interpreter`: walks one list of steps.
//! * `channel`: asking the host for something and waiting for its answer.
//! * `arch`: system calls, clone and the end, one file per architecture. Nothing else here knows
//!   what a register is.

pub mod channel;
pub mod interpreter;
pub mod plan;

#[cfg_attr(target_arch = "x86_64", path = "arch/x86_64.rs")]
pub mod arch;
