//! The embedded program: the init of a sandbox, and the stage between the host's memory and the
//! program's.
//!
//! Static, without libc or a Rust runtime, a few kilobytes. It receives a plan, walks it in memory of
//! its own, and then either becomes the program (staged) or clones the program, reaps whatever is
//! orphaned, and tells the host how the program ended (init). It trusts nothing but what the host
//! gave it, and ends when the host does.

#![no_std]
#![no_main]

#[path = "../child/mod.rs"]
mod child;
mod reaper;
mod spawn;

use core::ptr::{null, null_mut};
use core::sync::atomic::Ordering::Release;

use child::arch::{nr, syscall};
use child::channel;
use child::interpreter::{Context, End, SLOTS, walk};
use child::plan::{CONTROL_SIZE, Control, Header, MAGIC, Note, answer, list, mode, stage, word};

/// Only written before the program is cloned, and by the program's process until its exec.
static mut CONTEXT: Context = Context {
    plan: null(),
    control: null_mut(),
    word: null(),
    list: list::INIT,
    socket: -1,
    slots: [0; SLOTS],
};

const EPROTO: i32 = 71;

/// Called by `_start` with the kernel's argument block: argc, argv... Two arguments: the name and a
/// socket (init); three: the name, a memfd and the plan's size (staged).
///
/// # Safety
/// Once, by `_start`.
#[unsafe(no_mangle)]
unsafe extern "C" fn sbx_init_main(block: *const usize) -> ! {
    // SAFETY: the block holds argc and then as many pointers to strings.
    let (count, number) =
        unsafe { (*block, |n: usize| parse_number(*block.add(n + 1) as *const u8)) };
    // SAFETY: nobody else exists yet.
    let context = unsafe { &mut *&raw mut CONTEXT };
    let ready = match count {
        2 => receive_plan(number(1), context),
        3 => map_plan(number(1), number(2) as usize, context).and_then(|()| own_the_word(context)),
        _ => Err(EPROTO),
    };
    if let Err(errno) = ready {
        exit(errno);
    }
    // SAFETY: mapped for good. From here on a failure is written down there.
    unsafe { (*context.control).stage.store(stage::INIT, Release) };
    // SAFETY: the plan was built for this process and relocated to where it is.
    if unsafe { walk(context) } == End::Failed {
        exit(0);
    }
    // SAFETY: map_plan checked it.
    let header = unsafe { &*context.plan };
    if header.mode & mode::SPAWN == 0 {
        exit(EPROTO);
    }
    let spawned = spawn::spawn(context, header);
    reaper::reap_until_the_end(context, header, spawned)
}

/// Waits for the plan and maps it.
fn receive_plan(socket: i32, context: &mut Context) -> Result<(), i32> {
    let mut note = Note::default();
    let mut memfd = -1;
    // SAFETY: the host handed this socket down.
    let received = unsafe { channel::receive(socket, &mut note, &mut memfd) };
    if received < 0 {
        return Err(-received as i32);
    }
    if received != size_of::<Note>() as isize || note.kind != answer::PLAN || memfd < 0 {
        return Err(EPROTO);
    }
    map_plan(memfd, note.first as usize, context)?;
    // The program's descriptors may take any number below `floor`: the socket moves out of the way.
    const F_DUPFD_CLOEXEC: usize = 1030;
    // SAFETY: copies a descriptor.
    let moved = unsafe {
        syscall(nr::FCNTL, [socket as usize, F_DUPFD_CLOEXEC, note.second as usize, 0, 0, 0])
    };
    if moved < 0 {
        return Err(-moved as i32);
    }
    close(socket);
    context.socket = moved as i32;
    Ok(())
}

/// Maps control block and plan, and makes the plan's pointers right.
fn map_plan(memfd: i32, size: usize, context: &mut Context) -> Result<(), i32> {
    const READ_WRITE: usize = 3;
    const SHARED: usize = 1;
    const PRIVATE: usize = 2;
    let map = |len: usize, flags: usize, offset: usize| {
        // SAFETY: a new mapping at an address of the kernel's choice.
        let address =
            unsafe { syscall(nr::MMAP, [0, len, READ_WRITE, flags, memfd as usize, offset]) };
        if (-4095..0).contains(&address) {
            Err(-address as i32)
        } else {
            Ok(address as usize as *mut u8)
        }
    };
    let control = map(CONTROL_SIZE, SHARED, 0)?.cast::<Control>();
    let plan = map(size, PRIVATE, CONTROL_SIZE)?;
    close(memfd);

    // SAFETY: the memfd holds a whole plan; the host wrote it and nobody else has it.
    let header = unsafe { &*plan.cast::<Header>() };
    if header.magic != MAGIC || header.size as usize != size {
        return Err(EPROTO);
    }
    for n in 0..header.n_relocations as usize {
        // SAFETY: the builder's table lies inside the plan, and so does each word it names.
        unsafe {
            let offset = plan.add(header.relocations as usize).cast::<u32>().add(n).read();
            let word = plan.add(offset as usize).cast::<u64>();
            word.write_unaligned(word.read_unaligned() + plan as u64);
        }
    }
    context.control = control;
    context.plan = plan.cast();
    // SAFETY: just mapped.
    unsafe { context.word = &raw const (*control).embedded };
    Ok(())
}

/// struct robust_list_head with one entry.
#[repr(C)]
struct RobustList {
    first: *const RobustEntry,
    offset: isize,
    pending: *const u8,
    entry: RobustEntry,
}

#[repr(C)]
struct RobustEntry {
    next: *const RobustList,
}

static mut ROBUST_LIST: RobustList =
    RobustList { first: null(), offset: 0, pending: null(), entry: RobustEntry { next: null() } };

/// From here on the kernel wakes the host when this process execs or dies, without a system call of
/// its own: after the filter is loaded there is none that is sure to pass.
fn own_the_word(context: &Context) -> Result<(), i32> {
    // SAFETY: the list is static and written once; the word stays mapped until the exec.
    unsafe {
        let list = &raw mut ROBUST_LIST;
        let entry = &raw const (*list).entry;
        (*list).entry.next = list;
        (*list).first = entry;
        (*list).offset = context.word as isize - entry as isize;
        let tid = syscall(nr::GETTID, [0; 6]) as u32;
        let failed = syscall(nr::SET_ROBUST_LIST, [list as usize, 24, 0, 0, 0, 0]);
        if failed < 0 {
            return Err(-failed as i32);
        }
        // Until here the host looks by itself whether this process still lives.
        (*context.word).store(word::WAITED_FOR | tid, Release);
        Ok(())
    }
}

/// A decimal number.
///
/// # Safety
/// `text` must end with a NUL.
unsafe fn parse_number(text: *const u8) -> i32 {
    let mut number = 0i32;
    let mut at = text;
    loop {
        // SAFETY: stops at the NUL.
        let digit = unsafe { at.read() };
        if !digit.is_ascii_digit() {
            return number;
        }
        number = number.wrapping_mul(10).wrapping_add(i32::from(digit - b'0'));
        // SAFETY: the NUL is still ahead.
        at = unsafe { at.add(1) };
    }
}

/// Closes a descriptor.
fn close(fd: i32) {
    // SAFETY: a descriptor of this process that nothing uses any more.
    unsafe { syscall(nr::CLOSE, [fd as usize, 0, 0, 0, 0, 0]) };
}

/// Ends the embedded program. Nonzero: the errno of what failed before there was a control block.
fn exit(code: i32) -> ! {
    // SAFETY: ends this process.
    unsafe { syscall(nr::EXIT_GROUP, [code as usize, 0, 0, 0, 0, 0]) };
    child::arch::die()
}

/// Nothing here panics; the compiler wants to know where it would go.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    child::arch::die()
}
