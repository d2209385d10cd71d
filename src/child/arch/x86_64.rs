//! x86-64: the system call, clone, and the end of a process.

use core::arch::asm;

use super::interpreter::{Context, sbx_child_entry};

/// Numbers of the system calls that the interpreter and the embedded program make by themselves.
/// All others come with the plan.
pub mod nr {
    /// read(2)
    pub const READ: usize = 0;
    /// close(2)
    pub const CLOSE: usize = 3;
    /// mmap(2)
    pub const MMAP: usize = 9;
    /// nanosleep(2)
    pub const NANOSLEEP: usize = 35;
    /// sendmsg(2)
    pub const SENDMSG: usize = 46;
    /// recvmsg(2)
    pub const RECVMSG: usize = 47;
    /// clone(2)
    pub const CLONE: usize = 56;
    /// exit(2)
    pub const EXIT: usize = 60;
    /// kill(2)
    pub const KILL: usize = 62;
    /// fcntl(2)
    pub const FCNTL: usize = 72;
    /// prctl(2)
    pub const PRCTL: usize = 157;
    /// futex(2)
    pub const FUTEX: usize = 202;
    /// exit_group(2)
    pub const EXIT_GROUP: usize = 231;
    /// waitid(2)
    pub const WAITID: usize = 247;
    /// gettid(2)
    pub const GETTID: usize = 186;
    /// set_robust_list(2)
    pub const SET_ROBUST_LIST: usize = 273;
    /// ppoll(2)
    pub const PPOLL: usize = 271;
    /// signalfd4(2)
    pub const SIGNALFD4: usize = 289;
    /// pipe2(2)
    pub const PIPE2: usize = 293;
    /// clone3(2)
    pub const CLONE3: usize = 435;
    /// close_range(2)
    pub const CLOSE_RANGE: usize = 436;
    /// pread64(2)
    pub const PREAD64: usize = 17;
}

/// One system call; the result is the kernel's own: -4095..=-1 is a negative errno.
///
/// # Safety
/// The arguments must be right for the call: it can do to this process whatever the kernel can.
#[inline(always)]
pub unsafe fn syscall(number: usize, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the caller's. The kernel clobbers rcx and r11 and may write memory that the
    // arguments point to, so neither `nomem` nor `readonly` is claimed.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes a clone(2) or clone3(2) call whose child starts in `sbx_child_entry` on its own stack.
///
/// The child never returns from here: it enters `sbx_child_entry(context)` with the stack pointer
/// that the arguments gave it, and whatever the caller's frame held is not touched by it.
///
/// # Safety
/// `args` must describe a child with a stack of its own (16-byte aligned top); `context` must stay
/// valid until the child has exec'd or died.
#[inline(never)]
pub unsafe fn clone_into_entry(number: usize, args: [usize; 5], context: *mut Context) -> isize {
    let result: isize;
    // SAFETY: the caller's. The context travels in r12, which the kernel keeps in the child.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call {entry}",
            "ud2",
            "2:",
            entry = sym sbx_child_entry,
            inlateout("rax") number as isize => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r12") context,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

// The embedded program's first instructions: the kernel's argument block goes to `sbx_init_main`.
#[cfg(sbx_init)]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call sbx_init_main",
    "ud2",
);

/// Arguments of clone(2) in this architecture's order.
pub fn clone_args(
    flags: usize,
    stack_top: usize,
    parent_tid: usize,
    child_tid: usize,
) -> [usize; 5] {
    [flags, stack_top, parent_tid, child_tid, 0]
}

/// Ends the process, whatever a seccomp filter says about exit_group and exit.
pub fn die() -> ! {
    loop {
        // SAFETY: both calls end the caller; ud2 faults where a filter refused both.
        unsafe {
            syscall(nr::EXIT_GROUP, [127, 0, 0, 0, 0, 0]);
            syscall(nr::EXIT, [127, 0, 0, 0, 0, 0]);
            asm!("ud2", options(nomem, nostack));
        }
    }
}
