//! Walks a list of steps: the whole of what a child does before its exec.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Relaxed, Release};

use super::arch::{die, nr, syscall};
use super::channel;
use super::plan::{ANY_ERRNO, Control, Header, NO_ARG, NO_SLOT, Step, op, stage};

/// How many results a plan can keep.
pub const SLOTS: usize = 128;

/// How often a step with a `retry_errno` is tried, and the pause between: 100 ms in all, which is
/// long for another thread's fork to reach its exec and for a key to be freed, and short for a user.
const TRIES: u32 = 50;
const PAUSE_NS: i64 = 2_000_000;
/// About as long, where no system call may be made.
const SPINS: u32 = 50_000;

/// What a child knows. Lives in memory that stays until the child has exec'd or died.
#[repr(C)]
pub struct Context {
    /// The plan, its pointers right for this memory.
    pub plan: *const Header,
    /// Shared with the host.
    pub control: *mut Control,
    /// The word of `control` that the host sleeps on.
    pub word: *const AtomicU32,
    /// Which list to walk.
    pub list: u32,
    /// The socket to the host, or -1: the futex words of `control`.
    pub socket: i32,
    /// Results of steps.
    pub slots: [i64; SLOTS],
}

/// How a walk ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// After the last step.
    Done,
    /// A step failed; it is written down in the control block.
    Failed,
}

/// Where a cloned child begins. The list it walks ends with an exec; when it comes back, it failed.
///
/// # Safety
/// Called by `clone_into_entry` only, on the child's own stack.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbx_child_entry(context: *mut Context) -> ! {
    // SAFETY: the context was made for this child and outlives it.
    unsafe { walk(&mut *context) };
    die()
}

/// Walks the context's list.
///
/// # Safety
/// The plan was built for this process: every pointer and number in it is right here.
pub unsafe fn walk(context: &mut Context) -> End {
    // SAFETY: a built plan's lists lie inside it; the control block outlives the child.
    let (steps, len, control) = unsafe {
        let list = (*context.plan).lists.as_ptr().add(context.list as usize).read();
        let steps = context.plan.cast::<u8>().add(list.offset as usize).cast::<Step>();
        (steps, list.len, &*context.control)
    };
    let mut at = 0;
    while at < len {
        control.step.store(context.list << 16 | at, Relaxed);
        // SAFETY: at < len.
        let step = unsafe { &*steps.add(at as usize) };
        // SAFETY: the caller's.
        let result = unsafe { perform(context, control, step) };
        if step.op == op::JUMP {
            at = u32::from(step.catch_to);
            continue;
        }
        if result >= 0 {
            at += 1;
            continue;
        }
        let errno = (-result) as u16;
        if step.tolerate == errno || step.tolerate == ANY_ERRNO {
            keep(context, step, -1);
            at += 1;
            continue;
        }
        if step.catch_errno == errno || step.catch_errno == ANY_ERRNO {
            control.unenforced.fetch_or(step.catch_mark, Relaxed);
            keep(context, step, -1);
            at = u32::from(step.catch_to);
            continue;
        }
        channel::record_failure(control, i32::from(errno), u32::from(step.location), step.index);
        return End::Failed;
    }
    End::Done
}

/// Performs one step: a negative errno, or what it gave.
unsafe fn perform(context: &mut Context, control: &Control, step: &Step) -> isize {
    const ECANCELED: isize = -125;
    match step.op {
        op::SYSCALL => {}
        op::EXEC => control.stage.store(stage::EXEC, Release),
        op::EXEC_INIT => control.stage.store(stage::EXEC_INIT, Release),
        op::ASK | op::TELL => {
            let fd = if step.args[1] == u64::from(NO_SLOT) {
                -1
            } else {
                slot(context, step.args[1]) as i32
            };
            let kind = step.args[0] as u32;
            // SAFETY: the caller's.
            let done = unsafe {
                if step.op == op::ASK {
                    channel::ask(context, kind, fd)
                } else {
                    channel::tell(context, kind, fd)
                }
            };
            return if done { 0 } else { ECANCELED };
        }
        op::STORE => {
            // SAFETY: the plan's own data.
            unsafe {
                (step.args[0] as *mut i32).write_unaligned(slot(context, step.args[1]) as i32)
            };
            return 0;
        }
        op::COMPARE => {
            // SAFETY: the plan's own data.
            let same = unsafe {
                same_bytes(
                    step.args[0] as *const u8,
                    step.args[1] as *const u8,
                    step.args[2] as usize,
                )
            };
            return if same { 0 } else { -(step.expect_errno as isize) };
        }
        _ => return 0,
    }

    let mut args = [0usize; 8];
    for (n, arg) in args.iter_mut().take(6).enumerate() {
        // SAFETY: n < 6.
        let value = unsafe { *step.args.as_ptr().add(n) };
        *arg =
            if step.slots >> n & 1 == 0 { value as usize } else { slot(context, value) as usize };
    }
    let mut result = 0;
    for _ in 0..step.repeat {
        // SAFETY: the caller's: this call, with these arguments, is in the plan.
        result = unsafe { call(step, args) };
        if result < 0 {
            return result;
        }
        if step.repeat_arg != NO_ARG {
            // SAFETY: masked to the array's size.
            unsafe { *args.as_mut_ptr().add(step.repeat_arg as usize & 7) += 1 };
        }
    }
    if step.expect_errno != 0 {
        let expect = if step.expect_slot != 0 {
            slot(context, step.expect as u64)
        } else {
            i64::from(step.expect)
        };
        if result as i64 != expect {
            return -(step.expect_errno as isize);
        }
    }
    keep(context, step, result);
    result
}

/// Keeps a result for later steps.
fn keep(context: &mut Context, step: &Step, result: isize) {
    if step.out != NO_SLOT {
        // SAFETY: masked to the array's size.
        unsafe { *context.slots.as_mut_ptr().add(step.out as usize & (SLOTS - 1)) = result as i64 };
    }
}

/// The system call of a step, tried again on its `retry_errno`.
unsafe fn call(step: &Step, args: [usize; 8]) -> isize {
    let mut tries = TRIES;
    loop {
        // SAFETY: the caller's.
        let result = unsafe {
            syscall(step.nr as usize, [args[0], args[1], args[2], args[3], args[4], args[5]])
        };
        tries -= 1;
        if result >= 0
            || step.retry_errno == 0
            || -result != step.retry_errno as isize
            || tries == 0
        {
            // Raw calls mark only -4095..=-1 as errors; getppid and the like never come near.
            return result;
        }
        pause(step);
    }
}

/// Waits a little. Before the exec a filter may stand that kills for nanosleep: there it only spins.
fn pause(step: &Step) {
    if step.op == op::EXEC {
        for _ in 0..SPINS {
            core::hint::spin_loop();
        }
        return;
    }
    let time = [0i64, PAUSE_NS];
    // SAFETY: reads the two words.
    unsafe { syscall(nr::NANOSLEEP, [&raw const time as usize, 0, 0, 0, 0, 0]) };
}

fn slot(context: &Context, number: u64) -> i64 {
    // SAFETY: masked to the array's size.
    unsafe { *context.slots.as_ptr().add(number as usize & (SLOTS - 1)) }
}

/// memcmp, which would be a call into libc.
unsafe fn same_bytes(a: *const u8, b: *const u8, len: usize) -> bool {
    let mut n = 0;
    while n < len {
        // SAFETY: the caller's lengths. Volatile, so that the loop is not turned back into memcmp.
        if unsafe { a.add(n).read_volatile() != b.add(n).read_volatile() } {
            return false;
        }
        n += 1;
    }
    true
}
