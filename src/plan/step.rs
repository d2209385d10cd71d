//! A step while its plan is being built: arguments that can still be printed and relocated, and what
//! is to happen when the call fails.

use core::ffi::c_int;

use crate::child::plan::Step;

/// Where in the plan's data something lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset(pub u32);

/// A result that later steps use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub u8);

/// An argument of a system call.
#[derive(Debug, Clone, Copy)]
pub enum Arg {
    /// A number.
    Int(u64),
    /// A descriptor of the host, with the name that describe prints.
    Fd(c_int, &'static str),
    /// A C string in the plan's data.
    Text(Offset),
    /// Anything else in the plan's data.
    Data(Offset),
    /// An earlier step's result.
    Slot(Slot),
}

impl From<c_int> for Arg {
    fn from(value: c_int) -> Arg {
        Arg::Int(value as i64 as u64)
    }
}
impl From<u64> for Arg {
    fn from(value: u64) -> Arg {
        Arg::Int(value)
    }
}
impl From<u32> for Arg {
    fn from(value: u32) -> Arg {
        Arg::Int(u64::from(value))
    }
}
impl From<usize> for Arg {
    fn from(value: usize) -> Arg {
        Arg::Int(value as u64)
    }
}
impl From<Slot> for Arg {
    fn from(slot: Slot) -> Arg {
        Arg::Slot(slot)
    }
}

/// A step and what is needed to print and to relocate it.
pub struct Call {
    /// The step, its pointers still offsets into the data.
    pub step: Step,
    /// Its arguments.
    pub args: [Arg; 6],
    /// How many.
    pub n_args: u8,
}

/// A step that was just added, to say more about it.
pub struct Added<'a> {
    pub(super) call: &'a mut Call,
    pub(super) position: usize,
}

impl Added<'_> {
    /// The entry of a list that the step belongs to.
    pub fn index(self, index: usize) -> Self {
        self.call.step.index = index as i32;
        self
    }

    /// Keeps the result.
    pub fn out(self, slot: Slot) -> Self {
        self.call.step.out = slot.0;
        self
    }

    /// This errno is as good as success.
    pub fn tolerate(self, errno: c_int) -> Self {
        self.call.step.tolerate = errno as u16;
        self
    }

    /// This errno only sets a mark in what the result says was left out.
    pub fn excuse(self, errno: c_int, mark: u64) {
        self.call.step.catch_errno = errno as u16;
        self.call.step.catch_to = self.position as u16 + 1;
        self.call.step.catch_mark = mark as u32;
    }

    /// This errno goes on elsewhere: `Builder::land_here` says where.
    pub fn catch(self, errno: u16) -> usize {
        self.call.step.catch_errno = errno;
        self.position
    }

    /// This errno is tried again.
    pub fn retry(self, errno: c_int) -> Self {
        self.call.step.retry_errno = errno as u16;
        self
    }

    /// Repeats the call `count` times, argument `arg` one more each time.
    pub fn repeat(self, count: usize, arg: u8) -> Self {
        self.call.step.repeat = count as u16;
        self.call.step.repeat_arg = arg;
        self
    }

    /// Any other result is the failure `errno`.
    pub fn expect(self, value: c_int, errno: c_int) -> Self {
        self.call.step.expect = value;
        self.call.step.expect_errno = errno as u16;
        self
    }

    /// Any result but the slot's is the failure `errno`.
    pub fn expect_slot(self, slot: Slot, errno: c_int) -> Self {
        self.call.step.expect_slot = 1;
        self.expect(c_int::from(slot.0), errno)
    }

    /// Where the step stands in its list.
    pub fn position(self) -> usize {
        self.position
    }
}
