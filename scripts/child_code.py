"""What machine code may do between clone and exec, and the walk that looks at all of it.

The rules are for x86-64. `Code` is a disassembled file cut into functions; `walk` follows every
direct call and jump from a starting point and returns what it found against the rules.
"""

import re
import struct
import subprocess
from bisect import bisect_right
from collections import namedtuple

import elf64

Instruction = namedtuple("Instruction", "address mnemonic operands")
Function = namedtuple("Function", "name start end")

# What the child's code is called: the interpreter's module in Rust, its entry in C.
ALLOWED = re.compile(r"^(<?sbx::child::|sbx_child_)")
# What must not exist in a program that cannot panic.
PANIC = re.compile(r"panic|begin_unwind|_Unwind_|__stack_chk_fail|eh_personality")

PREFIXES = {"notrack", "bnd", "data16", "addr32", "lock", "rep", "repz", "repnz", "repe", "repne", "cs", "ds", "es", "ss"}
THREAD_LOCAL = re.compile(r"%[fg]s\b|\b(rd|wr)[fg]sbase|\bswapgs\b|^[fg]s\b")
LINE = re.compile(r"^\s*([0-9a-f]+):\t(.*)$")
DIRECT = re.compile(r"^([0-9a-f]+)(?:\s+<(.*)>)?$")
# Other ways into other code, or out of user space, that a compiler does not make and the child does not need.
FOREIGN = {"int", "int1", "into", "sysenter", "lcall", "ljmp", "iret", "iretq", "lret", "sysret", "xbegin", "xabort"}


class Code:
    def __init__(self, path):
        self.elf = elf64.Elf(path)
        if self.elf.machine != elf64.EM_X86_64:
            raise ValueError(f"{path}: no rules for this machine's code (ELF machine {self.elf.machine})")
        self.instructions = disassemble(path)
        self.index = {instruction.address: n for n, instruction in enumerate(self.instructions)}
        self.functions = functions(self.elf)
        self.starts = [function.start for function in self.functions]

    def function_at(self, address):
        n = bisect_right(self.starts, address) - 1
        if n >= 0 and address < self.functions[n].end:
            return self.functions[n]
        return None

    def body(self, function):
        """The function's instructions, or None where the disassembly does not meet its bounds."""
        first = self.index.get(function.start)
        if first is None:
            return None
        last = first
        while last < len(self.instructions) and self.instructions[last].address < function.end:
            last += 1
        return self.instructions[first:last]


def disassemble(path):
    text = subprocess.run(["objdump", "-d", "-w", "-M", "att", "--no-show-raw-insn", path],
                          check=True, capture_output=True, text=True).stdout
    result = []
    for line in text.splitlines():
        match = LINE.match(line)
        if not match:
            continue
        words = match[2].split("#")[0].split()
        while len(words) > 1 and (words[0] in PREFIXES or words[0].startswith("rex")):
            words.pop(0)
        # The note behind `#` has the address that a %rip-relative operand means.
        note = match[2].partition("#")[2].split()
        operands = " ".join(words[1:]) + (f" # {note[0]}" if note else "")
        result.append(Instruction(int(match[1], 16), words[0] if words else "", operands))
    return result


def functions(elf):
    """Functions by address. Assembly without a size reaches to the next symbol of its section."""
    named = {}
    for symbol in elf.symbols:
        if symbol.type not in (elf64.STT_FUNC, elf64.STT_NOTYPE) or not 0 < symbol.section < len(elf.sections):
            continue
        section = elf.sections[symbol.section]
        if not section.flags & elf64.SHF_EXECINSTR or not section.address <= symbol.address < section.address + section.size:
            continue
        # Of several names for one address the one that the rules know is as good as any.
        known = named.get(symbol.address)
        if known is None or symbol.size > known[1] or (symbol.size == known[1] and symbol.name.startswith("sbx")):
            named[symbol.address] = (symbol.name, symbol.size, section.address + section.size)
    names = demangle([name for name, _, _ in named.values()])
    starts = sorted(named)
    result = []
    for n, start in enumerate(starts):
        name, size, section_end = named[start]
        end = start + size
        if not size:
            end = min([section_end] + starts[n + 1:n + 2])
        result.append(Function(names[name], start, end))
    return result


def demangle(names):
    if not names:
        return {}
    text = subprocess.run(["c++filt"], input="\n".join(names), check=True, capture_output=True, text=True).stdout
    # Rust's older mangling ends with a hash that says nothing here.
    return {name: re.sub(r"::h[0-9a-f]{16}$", "", plain) for name, plain in zip(names, text.splitlines())}


def tables(code, function, body, at):
    """Is the indirect jump body[at] one through jump tables that stay inside the function?

    The compiler makes two forms: `jmp *TABLE(,%index,8)` with addresses, and, in code that can be
    loaded anywhere, `lea TABLE(%rip),%base; movslq (%base,%index,4),%x; add %base,%x; jmp *%x` with
    offsets. A table's length is known where a bound is tested before the jump; otherwise (a match
    over all values of an enum) every entry up to the first that is none of this function's
    instructions belongs to it.
    """
    operands = body[at].operands.split(" #")[0]
    absolute = re.match(r"^\*0x([0-9a-f]+)\(,%\w+,8\)$", operands)
    if absolute:
        return table_stays(code, function, int(absolute[1], 16), 8, bound(body, at))
    register = re.match(r"^\*%(\w+)$", operands)
    if not register:
        return False
    base = None
    for n in range(at - 1, max(at - 24, -1), -1):
        mnemonic, text = body[n].mnemonic, body[n].operands
        if base is None:
            match = re.match(rf"^%(\w+),%{register[1]}$", text) if mnemonic == "add" else None
            base = match[1] if match else None
        elif mnemonic == "movslq" and re.match(rf"^\(%({base}|{register[1]}),%\w+,4\),%({base}|{register[1]})$", text):
            # Either of the two added registers may be the one that holds the table's address.
            holder = re.match(r"^\(%(\w+)", text)[1]
            for m in range(n - 1, -1, -1):
                match = re.match(rf"^-?0x[0-9a-f]+\(%rip\),%{holder} # (?:0x)?([0-9a-f]+)$", body[m].operands)
                if body[m].mnemonic == "lea" and match:
                    return table_stays(code, function, int(match[1], 16), 4, bound(body, n))
            return False
    return False


def bound(body, at):
    """The number of entries that a comparison shortly before allows, or None."""
    for n in range(at - 1, max(at - 12, 0), -1):
        if body[n].mnemonic == "ja" and body[n - 1].mnemonic.startswith("cmp"):
            match = re.match(r"^\$0x([0-9a-f]+),", body[n - 1].operands)
            return int(match[1], 16) + 1 if match else None
    return None


def table_stays(code, function, table, width, entries):
    n = 0
    while entries is None or n < entries:
        raw = code.elf.read(table + n * width, width)
        if raw is None:
            break
        target = struct.unpack("<Q", raw)[0] if width == 8 else table + struct.unpack("<i", raw)[0]
        if not function.start <= target < function.end or target not in code.index:
            break
        n += 1
    return n == entries if entries is not None else n >= 2


def check_function(code, function, allowed):
    """One function: what it does against the rules, and the functions it leads to."""
    body = code.body(function)
    if not body:
        return 0, [f"{function.name}: no instructions at its address"], []
    found, leads_to = [], []
    for at, instruction in enumerate(body):
        _, mnemonic, operands = instruction
        where = f"{function.name}+{instruction.address - function.start:#x}: {mnemonic} {operands}"
        text = f"{mnemonic} {operands}"
        if THREAD_LOCAL.search(text):
            found.append(f"{where}: thread-local storage")
        elif "(bad)" in text or not mnemonic:
            found.append(f"{where}: not an instruction")
        elif mnemonic in FOREIGN:
            found.append(f"{where}: not for a child")
        elif mnemonic.startswith("call"):
            target = DIRECT.match(operands)
            if not target:
                found.append(f"{where}: indirect call")
            else:
                leads_to.append((where, int(target[1], 16), target[2]))
        elif mnemonic.startswith("j") or mnemonic.startswith("loop"):
            target = DIRECT.match(operands)
            if not target:
                if not tables(code, function, body, at):
                    found.append(f"{where}: indirect jump that is no jump table of the function")
            elif not function.start <= int(target[1], 16) < function.end:
                leads_to.append((where, int(target[1], 16), target[2]))
            elif int(target[1], 16) not in code.index:
                found.append(f"{where}: jump into the middle of an instruction")
    good = []
    for where, target, label in leads_to:
        callee = code.function_at(target)
        if callee is None:
            found.append(f"{where}: leads to {label or hex(target)}, which is not the child's code")
        elif target != callee.start:
            found.append(f"{where}: leads into the middle of {callee.name}")
        elif PANIC.search(callee.name):
            found.append(f"{where}: can panic ({callee.name})")
        elif not allowed(callee.name):
            found.append(f"{where}: leads to {callee.name}, which is not the child's code")
        else:
            good.append(callee)
    return len(body), found, good


def walk(code, roots, allowed):
    """Everything that can be reached from the roots. Returns (functions, instructions, findings)."""
    todo, seen, instructions, findings = list(roots), set(roots), 0, []
    came_from = {}
    while todo:
        function = todo.pop()
        count, found, callees = check_function(code, function, allowed)
        instructions += count
        way = []
        step = function
        while step in came_from:
            step = came_from[step]
            way.append(step.name)
        findings += [f"{text}" + (f"\n    reached through {' <- '.join(way)}" if way else "") for text in found]
        for callee in callees:
            if callee not in seen:
                seen.add(callee)
                came_from[callee] = function
                todo.append(callee)
    return seen, instructions, findings
