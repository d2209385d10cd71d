//! The format of a plan, of the control block and of the messages.
//!
//! A plan is one block of memory: a header, three lists of steps, and the data that the steps point
//! to. Inside the library it is used where it was built; for the embedded program it is written to a
//! memfd with every pointer as an offset, and a table says which words to add the new base to.

use core::sync::atomic::{AtomicI32, AtomicU32};

/// Which list of steps.
pub mod list {
    /// Run by the cloned child, in the host's memory. In the direct shape this is everything.
    pub const ENTRY: u32 = 0;
    /// Run by the embedded program.
    pub const INIT: u32 = 1;
    /// Run by the program's own process, cloned by the embedded program (init shape).
    pub const PROGRAM: u32 = 2;
    /// How many there are.
    pub const COUNT: usize = 3;
}

/// The first bytes of a plan. "SBXPLAN" and the format's number.
pub const MAGIC: u64 = 0x314e_414c_5058_4253;

/// A plan begins with this.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Header {
    /// MAGIC.
    pub magic: u64,
    /// Bytes in all.
    pub size: u64,
    /// Where the table of relocations begins: offsets (u32) of pointers.
    pub relocations: u32,
    /// How many there are.
    pub n_relocations: u32,
    /// Offset and length of each list of steps.
    pub lists: [List; list::COUNT],
    /// How the embedded program behaves: bits of `mode`.
    pub mode: u32,
    /// The cgroup the program is cloned into (CLONE_INTO_CGROUP), or -1.
    pub spawn_cgroup: i32,
    /// The host's pidfd, by which the embedded program learns of its end.
    pub host_pidfd: i32,
    /// The slot with /proc/thread-self/children of the embedded program.
    pub children_slot: u32,
    /// From this number on (or in the gap that begins here) the program has no descriptors.
    pub floor: i32,
    /// Zero.
    pub reserved: u32,
}

/// A list of steps inside a plan.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct List {
    /// Offset of its first step.
    pub offset: u32,
    /// How many steps.
    pub len: u32,
}

/// What the embedded program does after its list.
pub mod mode {
    /// It clones the program and becomes its init.
    pub const SPAWN: u32 = 1;
    /// It has a pid namespace of its own: when it ends, everything in there does.
    pub const PID_NAMESPACE: u32 = 2;
    /// The program stops itself before its filter: the host hears of it.
    pub const STOPS: u32 = 4;
}

/// What a step does.
pub mod op {
    /// One system call, `repeat` times, the counting argument one more each time.
    pub const SYSCALL: u16 = 0;
    /// The same, as the last one: what follows is the new program.
    pub const EXEC: u16 = 1;
    /// Go on at step `catch_to`.
    pub const JUMP: u16 = 2;
    /// Ask the host (args[0]: a request, args[1]: a slot with a descriptor to hand over) and wait.
    pub const ASK: u16 = 3;
    /// Compare args[2] bytes at args[0] and args[1]; if they differ the step fails with `expect_errno`.
    pub const COMPARE: u16 = 4;
    /// Tell the host (args[0], args[1] as for ASK) and go on.
    pub const TELL: u16 = 5;
    /// Store the slot args[1] as a 32-bit number at args[0].
    pub const STORE: u16 = 7;
    /// The exec of the embedded program: like EXEC, but the start is not over with it.
    pub const EXEC_INIT: u16 = 6;
}

/// No slot.
pub const NO_SLOT: u8 = 0xff;
/// `repeat_arg` of a step that is not repeated.
pub const NO_ARG: u8 = 0xff;
/// `catch_errno`: any.
pub const ANY_ERRNO: u16 = 0xffff;

/// One step.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Step {
    /// What it does: `op`.
    pub op: u16,
    /// Its name in an error: a number of `Location`.
    pub location: u16,
    /// Which entry of a list it belongs to, or -1.
    pub index: i32,
    /// System call number.
    pub nr: u32,
    /// Bit n: args[n] is the number of a slot, to be replaced by its value.
    pub slots: u8,
    /// The slot that keeps the result, or NO_SLOT.
    pub out: u8,
    /// Which argument counts up when the step is repeated, or NO_ARG.
    pub repeat_arg: u8,
    /// 1: `expect` is a slot number.
    pub expect_slot: u8,
    /// How often.
    pub repeat: u16,
    /// This errno does not fail the start but goes on at `catch_to`; 0: none, ANY_ERRNO: every one.
    pub catch_errno: u16,
    /// Index of a step in the same list.
    pub catch_to: u16,
    /// This errno is tried again, a bounded number of times; 0: none.
    pub retry_errno: u16,
    /// Bits for `Control::unenforced` when the errno was caught.
    pub catch_mark: u32,
    /// With `expect_errno`: the only good result.
    pub expect: i32,
    /// Not 0: a result other than `expect` fails the step with this errno.
    pub expect_errno: u16,
    /// This errno is as good as success, and the result is -1; 0: none, ANY_ERRNO: every one.
    pub tolerate: u16,
    /// Arguments.
    pub args: [u64; 6],
}

/// Where host and child meet: words that both can see. In the host's own memory while the child
/// shares it, in a shared page once the embedded program runs.
///
/// The host sleeps on one word and can tell three states apart: running, asking, and gone. The kernel
/// itself writes "gone", at exec and at death alike: while the child shares the host's memory by
/// CLONE_CHILD_CLEARTID, which clears the word; later by the robust futex list, which clears the
/// owner's number in it.
#[repr(C)]
pub struct Control {
    /// The word while the cloned child runs.
    pub entry: AtomicU32,
    /// The word while the embedded program runs (staged).
    pub embedded: AtomicU32,
    /// What an asking child wants: `request`.
    pub request: AtomicU32,
    /// The child sleeps on this: 0, GO or ABORT.
    pub answer: AtomicU32,
    /// How far it came: `stage`.
    pub stage: AtomicU32,
    /// The step it is in: list << 16 | index.
    pub step: AtomicU32,
    /// The step that failed: its errno (0: none failed yet), location and index.
    pub errno: AtomicU32,
    /// A number of `Location`.
    pub location: AtomicU32,
    /// Entry of a list, or -1.
    pub index: AtomicI32,
    /// What best effort left out: SBX_UNENFORCED_* bits.
    pub unenforced: AtomicU32,
}

/// The states of the word that the host sleeps on.
pub mod word {
    /// Who owns it: FUTEX_TID_MASK. 0: gone.
    pub const OWNER: u32 = 0x3fff_ffff;
    /// Set by an asking child; FUTEX_OWNER_DIED, which the kernel sets when it clears the owner.
    pub const ASKING: u32 = 0x4000_0000;
    /// FUTEX_WAITERS: the kernel wakes the host only if this is set.
    pub const WAITED_FOR: u32 = 0x8000_0000;
    /// Running, before the owner has written its own number.
    pub const RUNNING: u32 = WAITED_FOR | OWNER;
}

/// How far a start came.
pub mod stage {
    /// Before the first exec.
    pub const ENTRY: u32 = 0;
    /// The exec of the embedded program was begun.
    pub const EXEC_INIT: u32 = 1;
    /// The embedded program is walking its list.
    pub const INIT: u32 = 2;
    /// The exec of the program was begun.
    pub const EXEC: u32 = 3;
}

/// What the child asks for, and what the embedded program tells.
pub mod request {
    /// Write my uid and gid maps and my time offsets.
    pub const MAPS: u32 = 2;
    /// Everything is ready but the filter and the exec: call the sync function.
    pub const SYNC: u32 = 3;
    /// Trace me.
    pub const SEIZE: u32 = 4;
    /// I am about to stop.
    pub const STOPPING: u32 = 5;
    /// The program stopped.
    pub const STOPPED: u32 = 6;
    /// The program was exec'd.
    pub const EXECED: u32 = 7;
    /// The program ended; status and usage follow.
    pub const ENDED: u32 = 8;
    /// I am the program; my pidfd comes with this.
    pub const PROGRAM: u32 = 9;
}

/// What the host answers.
pub mod answer {
    /// Go on.
    pub const GO: u32 = 1;
    /// The start is over: end.
    pub const ABORT: u32 = 2;
    /// Here is a plan, in a memfd.
    pub const PLAN: u32 = 3;
    /// Kill everything.
    pub const KILL: u32 = 4;
}

/// What host and embedded program send each other.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Note {
    /// `request` or `answer`.
    pub kind: u32,
    /// ENDED: CLD_EXITED, CLD_KILLED or CLD_DUMPED. PLAN: bytes of the plan.
    pub first: i32,
    /// ENDED: exit status or signal. PLAN: from this number on the program has no descriptors.
    pub second: i32,
    /// Zero.
    pub reserved: i32,
}

/// The note ENDED, with the program's usage.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ended {
    /// Its head.
    pub note: Note,
    /// The kernel's struct rusage: sixteen longs, and what a later kernel may add.
    pub usage: [i64; 18],
}

/// The number of `Location::Spawn`: the one failure that the embedded program records by itself.
pub const SPAWN_LOCATION: u32 = 43;

/// The control block's page in the memfd; the plan begins after it.
pub const CONTROL_SIZE: usize = 4096;
