//! Lays out a plan: steps, their data, and the pointers between them.
//!
//! Knows nothing of sandboxes: which steps there are, and in which order, is src/plan/order.rs.

use core::ffi::{CStr, c_int, c_long};

use super::step::{Added, Call};
pub use super::step::{Arg, Offset, Slot};
use crate::child::interpreter::SLOTS;
use crate::child::plan::{ANY_ERRNO, Header, List, MAGIC, NO_ARG, NO_SLOT, Step, list, op};
use crate::error::{Error, Location, Result};
use crate::mem;

/// Enough for the size of any plan.
const SIZE_DIGITS: usize = 10;

/// A plan in the making.
pub struct Builder {
    /// The lists.
    pub lists: [Vec<Call>; list::COUNT],
    /// What the steps point to.
    pub data: Vec<u8>,
    /// Offsets of pointers inside the data.
    pointers: Vec<u32>,
    /// The list that steps are added to.
    current: usize,
    /// Slots in use.
    slots: u128,
    /// Where in the data the plan's size is to be written in decimal digits.
    size_at: Option<usize>,
    /// The header's fields that are not layout.
    pub header: Header,
}

impl Builder {
    /// An empty plan.
    pub fn empty() -> Builder {
        Builder {
            lists: [const { Vec::new() }; list::COUNT],
            data: Vec::new(),
            pointers: Vec::new(),
            current: 0,
            slots: 0,
            size_at: None,
            header: Header {
                magic: MAGIC,
                size: 0,
                relocations: 0,
                n_relocations: 0,
                lists: [List::default(); list::COUNT],
                mode: 0,
                spawn_cgroup: -1,
                host_pidfd: -1,
                children_slot: 0,
                floor: 3,
                reserved: 0,
            },
        }
    }

    /// Makes room at once for what most plans need: growing bit by bit costs more than a start's
    /// system calls do.
    pub fn reserve(&mut self, list: u32, steps: usize) -> Result<()> {
        const DATA: usize = 4096;
        let calls = &mut self.lists[list as usize % list::COUNT];
        calls.try_reserve(steps).map_err(|_| mem::OutOfMemory)?;
        Ok(self.data.try_reserve(DATA).map_err(|_| mem::OutOfMemory)?)
    }

    /// Steps go to this list from now on.
    pub fn select(&mut self, list: u32) {
        self.current = list as usize % list::COUNT;
    }

    /// How many steps the current list has.
    pub fn position(&self) -> usize {
        self.steps().len()
    }

    fn steps(&self) -> &Vec<Call> {
        &self.lists[self.current]
    }

    /// A slot nobody uses.
    pub fn slot(&mut self) -> Result<Slot> {
        let free = self.slots.trailing_ones();
        if free as usize >= SLOTS {
            return Err(Error::with_message(
                Location::Argument,
                libc::E2BIG,
                format_args!("plan: too many descriptors are needed at once"),
            ));
        }
        self.slots |= 1 << free;
        Ok(Slot(free as u8))
    }

    /// Gives a slot back; its descriptor is closed, or will be by the exec.
    pub fn release(&mut self, slot: Slot) {
        self.slots &= !(1 << slot.0);
    }

    /// Adds a system call.
    pub fn call(&mut self, location: Location, number: c_long, args: &[Arg]) -> Result<Added<'_>> {
        self.add(op::SYSCALL, location, number as u32, args)
    }

    /// Adds a step of another kind.
    pub fn add(
        &mut self,
        op: u16,
        location: Location,
        number: u32,
        args: &[Arg],
    ) -> Result<Added<'_>> {
        let mut call = Call {
            step: Step {
                op,
                location: location as u16,
                index: -1,
                nr: number,
                slots: 0,
                out: NO_SLOT,
                repeat_arg: NO_ARG,
                expect_slot: 0,
                repeat: 1,
                catch_errno: 0,
                catch_to: 0,
                retry_errno: 0,
                catch_mark: 0,
                expect: 0,
                expect_errno: 0,
                tolerate: 0,
                args: [0; 6],
            },
            args: [Arg::Int(0); 6],
            n_args: 0,
        };
        for (n, arg) in args.iter().take(6).enumerate() {
            call.args[n] = *arg;
            call.n_args += 1;
            call.step.args[n] = match *arg {
                Arg::Int(value) => value,
                Arg::Fd(fd, _) => fd as i64 as u64,
                Arg::Text(at) | Arg::Data(at) => u64::from(at.0),
                Arg::Slot(slot) => {
                    call.step.slots |= 1 << n;
                    u64::from(slot.0)
                }
            };
        }
        if matches!(op, op::ASK | op::TELL | op::STORE) {
            // These read the slot by its number.
            call.step.slots = 0;
        }
        let steps = &mut self.lists[self.current];
        let position = steps.len();
        if position >= usize::from(u16::MAX) - 1 {
            return Err(Error::with_message(
                Location::Argument,
                libc::E2BIG,
                format_args!("plan: too many steps"),
            ));
        }
        mem::push(steps, call)?;
        Ok(Added { call: &mut steps[position], position })
    }

    /// Asks the host and waits.
    pub fn ask(&mut self, location: Location, request: u32, fd: Option<Slot>) -> Result<()> {
        let fd = fd.map_or(Arg::Int(u64::from(NO_SLOT)), Arg::Slot);
        self.add(op::ASK, location, 0, &[request.into(), fd])?;
        Ok(())
    }

    /// Closes a slot's descriptor and gives the slot back.
    pub fn close(&mut self, location: Location, slot: Slot) -> Result<()> {
        self.call(location, libc::SYS_close, &[slot.into()])?;
        self.release(slot);
        Ok(())
    }

    /// From `start` on, whatever fails in the current list goes on after the list's last step.
    pub fn skip_on_any_error(&mut self, start: usize, mark: u64) {
        let steps = &mut self.lists[self.current];
        let end = steps.len() as u16;
        for call in steps
            .iter_mut()
            .skip(start)
            .filter(|call| call.step.catch_errno == 0 && call.step.op != op::JUMP)
        {
            call.step.catch_errno = ANY_ERRNO;
            call.step.catch_to = end;
            call.step.catch_mark = mark as u32;
        }
    }

    /// Changes a step that was added earlier to the current list.
    pub fn step(&mut self, position: usize, change: impl FnOnce(&mut Step)) {
        if let Some(call) = self.lists[self.current].get_mut(position) {
            change(&mut call.step);
        }
    }

    /// Lets a step that was added earlier go on at the next step to be added.
    pub fn land_here(&mut self, position: usize) {
        let here = self.steps().len() as u16;
        if let Some(call) = self.lists[self.current].get_mut(position) {
            call.step.catch_to = here;
        }
    }

    /// Adds bytes, aligned for any type.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<Offset> {
        while self.data.len() % 8 != 0 {
            mem::push(&mut self.data, 0)?;
        }
        let at = self.offset()?;
        mem::extend(&mut self.data, bytes)?;
        Ok(at)
    }

    /// Adds words.
    pub fn words(&mut self, words: &[u64]) -> Result<Offset> {
        let at = self.bytes(&[])?;
        for word in words {
            mem::extend(&mut self.data, &word.to_ne_bytes())?;
        }
        Ok(at)
    }

    /// Adds 32-bit numbers.
    pub fn numbers(&mut self, numbers: &[u32]) -> Result<Offset> {
        let at = self.bytes(&[])?;
        for number in numbers {
            mem::extend(&mut self.data, &number.to_ne_bytes())?;
        }
        Ok(at)
    }

    /// Adds a C string.
    pub fn text(&mut self, text: &[u8]) -> Result<Arg> {
        let at = self.offset()?;
        mem::extend(&mut self.data, text)?;
        mem::push(&mut self.data, 0)?;
        Ok(Arg::Text(at))
    }

    /// Adds a C string that is known already.
    pub fn cstr(&mut self, text: &CStr) -> Result<Arg> {
        self.text(text.to_bytes())
    }

    /// Adds an array of pointers to C strings, and a NULL.
    pub fn string_array(&mut self, strings: &[mem::Text]) -> Result<Offset> {
        let mut offsets = Vec::new();
        for string in strings {
            let at = self.offset()?;
            mem::extend(&mut self.data, string.bytes_with_nul())?;
            mem::push(&mut offsets, at.0)?;
        }
        let at = self.bytes(&[])?;
        for offset in offsets {
            self.pointer(Offset(offset))?;
        }
        mem::extend(&mut self.data, &[0; 8])?;
        Ok(at)
    }

    /// Adds the embedded program's argv: the name and a descriptor, and for the staged shape the
    /// plan's size, which `finish` fills in.
    pub fn embedded_program_args(&mut self, staged: bool, fd: c_int) -> Result<Offset> {
        let mut number = [0u8; 16];
        let number = mem::format_into(&mut number, format_args!("{fd}"));
        let name = mem::Text::from_bytes(b"sbx-init")?;
        let number = mem::Text::from_bytes(number)?;
        if !staged {
            return self.string_array(&[name, number]);
        }
        let size_at = self.data.len() + name.bytes_with_nul().len() + number.bytes_with_nul().len();
        let args =
            self.string_array(&[name, number, mem::Text::from_bytes(&[b'0'; SIZE_DIGITS])?])?;
        self.size_at = Some(size_at);
        Ok(args)
    }

    /// Adds a pointer into the data; the data must be aligned.
    pub fn pointer(&mut self, to: Offset) -> Result<()> {
        let at = self.offset()?;
        mem::push(&mut self.pointers, at.0)?;
        mem::extend(&mut self.data, &u64::from(to.0).to_ne_bytes())?;
        Ok(())
    }

    fn offset(&self) -> Result<Offset> {
        const LARGEST: usize = 1 << 30;
        if self.data.len() > LARGEST {
            return Err(Error::with_message(
                Location::Argument,
                libc::E2BIG,
                format_args!("plan: more than 1 GiB of strings and files"),
            ));
        }
        Ok(Offset(self.data.len() as u32))
    }

    /// Lays everything out in one block, pointers as offsets from its beginning.
    pub fn finish(mut self) -> Result<Block> {
        let n_steps: usize = self.lists.iter().map(Vec::len).sum();
        let steps_at = size_of::<Header>();
        let data_at = steps_at + n_steps * size_of::<Step>();
        let relocations_at = (data_at + self.data.len()).next_multiple_of(8);

        let mut relocations: Vec<u32> = Vec::new();
        let mut step_at = steps_at;
        for (calls, list) in self.lists.iter_mut().zip(&mut self.header.lists) {
            *list = List { offset: step_at as u32, len: calls.len() as u32 };
            for call in calls {
                for (n, arg) in call.args.iter().enumerate() {
                    if let Arg::Text(at) | Arg::Data(at) = arg {
                        call.step.args[n] = data_at as u64 + u64::from(at.0);
                        mem::push(
                            &mut relocations,
                            (step_at + core::mem::offset_of!(Step, args) + n * 8) as u32,
                        )?;
                    }
                }
                step_at += size_of::<Step>();
            }
        }
        for at in &self.pointers {
            let at = *at as usize;
            if let Some(word) = self.data.get_mut(at..at + 8) {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(word);
                word.copy_from_slice(&(u64::from_ne_bytes(bytes) + data_at as u64).to_ne_bytes());
            }
            mem::push(&mut relocations, (data_at + at) as u32)?;
        }

        let size = (relocations_at + relocations.len() * 4).next_multiple_of(8);
        self.header.size = size as u64;
        if let Some(digits) = self.size_at.and_then(|at| self.data.get_mut(at..at + SIZE_DIGITS)) {
            mem::format_into(digits, format_args!("{size:0width$}", width = SIZE_DIGITS));
        }
        self.header.relocations = relocations_at as u32;
        self.header.n_relocations = relocations.len() as u32;

        let mut words: Vec<u64> = Vec::new();
        words.try_reserve_exact(size / 8).map_err(|_| mem::OutOfMemory)?;
        words.resize(size / 8, 0);
        let base = words.as_mut_ptr().cast::<u8>();
        // SAFETY: every offset was computed above to lie inside the `size` bytes.
        unsafe {
            base.cast::<Header>().write(self.header);
            let mut at = base.add(steps_at).cast::<Step>();
            for call in self.lists.iter().flatten() {
                at.write(call.step);
                at = at.add(1);
            }
            core::ptr::copy_nonoverlapping(self.data.as_ptr(), base.add(data_at), self.data.len());
            core::ptr::copy_nonoverlapping(
                relocations.as_ptr(),
                base.add(relocations_at).cast::<u32>(),
                relocations.len(),
            );
        }
        Ok(Block { words, relocations })
    }
}

/// A finished plan.
pub struct Block {
    words: Vec<u64>,
    relocations: Vec<u32>,
}

impl Block {
    /// Its bytes, pointers as offsets until `relocate`.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: any u64 is eight bytes.
        unsafe { core::slice::from_raw_parts(self.words.as_ptr().cast(), self.words.len() * 8) }
    }

    /// Makes its pointers right for where it is.
    pub fn relocate(&mut self) -> *const Header {
        let base = self.words.as_mut_ptr().cast::<u8>();
        for at in self.relocations.drain(..) {
            // SAFETY: `finish` took each offset from a pointer inside the block.
            unsafe {
                let word = base.add(at as usize).cast::<u64>();
                word.write_unaligned(word.read_unaligned() + base as u64);
            }
        }
        base.cast_const().cast()
    }
}
