"""Sees that check-child-code refuses bad code: a check that cannot fail proves nothing.

Each case is a small child in C or assembly, compiled as a shared library or as a static program, and the
words that the refusal must contain. The good cases, in the forms compilers really make, must pass.
"""

import contextlib
import io
import os
import subprocess
import tempfile

# What every child here is made of. `clone` stands for the way in: a system call, then the entry.
COMMON = r"""
typedef unsigned long word;
static inline word call1(word number, word argument)
{
    word result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(argument) : "rcx", "r11", "memory");
    return result;
}
void *malloc(word);
__attribute__((visibility("hidden"))) void sbx_child_entry(word *context);
__asm__(".globl start_child\n.hidden start_child\n.type start_child,@function\nstart_child:\n mov $56,%eax\n syscall\n test %rax,%rax\n"
        " jnz 1f\n xor %ebp,%ebp\n mov %r12,%rdi\n call sbx_child_entry\n ud2\n1: ret\n.size start_child,.-start_child\n");
"""

# Enough different work for a jump table.
SWITCH = r"""
__attribute__((noinline)) static word sbx_child_step(word *s)
{
    switch (s[0]) {
    case 0: return call1(1, s[1]); case 1: return call1(s[1] + 7, 2) * 3; case 2: return call1(3, 3) ^ s[2];
    case 3: return call1(s[2], 4); case 4: return call1(5, s[1] * 5); case 5: return call1(6, 1) + s[3];
    case 6: return call1(99, s[4]); default: return 0;
    }
}
void sbx_child_entry(word *s) { while (s[0] != 77) s[9] = sbx_child_step(s), s += 10; call1(60, 1); __builtin_trap(); }
"""

ASM_ENTRY = r"""
__asm__(".globl sbx_child_entry\n.hidden sbx_child_entry\n.type sbx_child_entry,@function\nsbx_child_entry:\n%s\n ud2\n"
        ".size sbx_child_entry,.-sbx_child_entry\n");
"""

GOOD = None

LIBRARIES = [
    ("a plain child with a jump table", SWITCH, [], GOOD),
    ("thread-local variable", "__thread word mine; void sbx_child_entry(word *s) { mine = s[1]; call1(60, 1); }",
     ["-ftls-model=initial-exec"], "thread-local storage"),
    ("thread-local variable through its resolver", "__thread word mine; void sbx_child_entry(word *s) { mine = s[1]; call1(60, 1); }",
     [], "not the child's code"),
    ("the other segment", ASM_ENTRY % r" mov %gs:0,%rax", [], "thread-local storage"),
    ("thread pointer read directly", ASM_ENTRY % r" rdfsbase %rax", [], "thread-local storage"),
    ("stack protector", "void sbx_child_entry(word *s) { volatile char b[64]; b[s[1]] = 1; call1(60, b[0]); }",
     ["-fstack-protector-all"], "thread-local storage"),
    ("malloc through the PLT", "void sbx_child_entry(word *s) { s[0] = (word)malloc(s[1]); call1(60, 1); }", [], "malloc"),
    ("malloc through the GOT", "void sbx_child_entry(word *s) { s[0] = (word)malloc(s[1]); call1(60, 1); }", ["-fno-plt"],
     "indirect call"),
    ("malloc as the last thing done", "void sbx_child_entry(word *s) { malloc(s[1]); }", ["-fno-builtin-malloc"], "malloc"),
    ("indirect call", "void sbx_child_entry(word *s) { ((void (*)(void))s[3])(); call1(60, 1); }", [], "indirect call"),
    ("indirect jump", "void sbx_child_entry(word *s) { ((void (*)(void))s[3])(); }", [], "no jump table"),
    ("a function of somebody else", "__attribute__((noinline)) void other(word *s) { s[1] = call1(39, 0); }"
     " void sbx_child_entry(word *s) { other(s); call1(60, 1); }", ["-fvisibility=hidden"], "leads to other"),
    ("somebody else, two calls away", "__attribute__((noinline)) void other(word *s) { s[1] = call1(39, 0); }"
     " __attribute__((noinline)) static void sbx_child_a(word *s) { other(s); s[2] = 1; }"
     " void sbx_child_entry(word *s) { sbx_child_a(s); call1(60, 1); }", ["-fvisibility=hidden"], "leads to other"),
    ("a panic", "__attribute__((noinline, noreturn)) void no(word *s) __asm__(\"_ZN4core9panicking5panic17h0123456789abcdefE\");"
     " void no(word *s) { call1(60, s[1]); __builtin_trap(); }"
     " void sbx_child_entry(word *s) { if (s[0]) no(s); call1(60, 1); }", ["-fvisibility=hidden"], "can panic"),
    ("unwinding", "__attribute__((noinline)) void _Unwind_Resume(word *s) { call1(60, s[1]); }"
     " void sbx_child_entry(word *s) { _Unwind_Resume(s); s[0] = 1; }", ["-fvisibility=hidden"], "can panic"),
    ("into the middle of a function", SWITCH.replace("sbx_child_entry", "sbx_child_work") + "void sbx_child_work(word *);"
     + ASM_ENTRY % r" jmp sbx_child_work+1", ["-fvisibility=hidden"], "into the middle"),
    ("into the middle of an instruction", ASM_ENTRY % r" jmp 2f+1\n2: mov $1,%eax", [], "middle of an instruction"),
    ("old system call", ASM_ENTRY % r" int $0x80", [], "not for a child"),
    ("bytes that are no code", ASM_ENTRY % r" .byte 6", [], "not an instruction"),
    ("table that leads out", ASM_ENTRY % (r" lea 5f(%rip),%rcx\n movslq (%rcx,%rdi,4),%rax\n add %rcx,%rax\n jmp *%rax\n"
     r".section .rodata\n5: .long start_child-5b, start_child-5b, start_child-5b\n.text"), [], "no jump table"),
    ("entry called by anybody", SWITCH + "void anybody(word *s) { s[1] = 3; sbx_child_entry(s); s[2] = 4; }", [],
     "not from a new child"),
    ("no entry at all", "word unused(word *s) { return s[1]; }", ["-Wl,-z,undefs"], "no symbol sbx_child_entry"),
    ("stripped", SWITCH, ["-s"], "no symbol sbx_child_entry"),
]

START = r"""
__asm__(".globl _start\n_start:\n mov %rsp,%rdi\n call begin\n ud2\n");
void begin(word *s);
"""
PROGRAM = START + SWITCH.replace("void sbx_child_entry", "__attribute__((noinline)) void work") + "void begin(word *s) { work(s); call1(60, 1); }"

PROGRAMS = [
    ("a plain program", PROGRAM, [], GOOD),
    ("dynamic", PROGRAM + "int getpid(void); int id(void) { return getpid(); }", ["!-static", "-lc"], "PT_INTERP"),
    ("relocated at start", PROGRAM + "word *where[] = { (word *)begin };", ["-static-pie", "!-static", "-fPIE"], "relocations"),
    ("writable code", PROGRAM + "word data = 3;", ["-Wl,-N"], "writable and executable"),
    ("executable stack", PROGRAM, ["-Wl,-z,execstack"], "writable and executable"),
    ("thread-local storage", START + "__thread word mine; void begin(word *s) { mine = s[1]; call1(60, 1); }", [], "thread-local storage"),
    ("indirect call", START + "void begin(word *s) { ((void (*)(void))s[3])(); call1(60, 1); }", [], "indirect call"),
    ("a panic nobody calls", PROGRAM + "void no(word *s) __asm__(\"_ZN4core9panicking5panic17h0123456789abcdefE\");"
     " void no(word *s) { call1(60, s[1]); }", [], "can panic"),
    ("stripped", PROGRAM, ["-s"], "no symbols"),
    ("code without a name", PROGRAM + r'__asm__(".section .text.zz,\"ax\"\n mov %fs:0,%rax\n ret\n.text");', [],
     ("thread-local storage", "in no function")),
]


def build(directory, text, options, base):
    source, binary = os.path.join(directory, "case.c"), os.path.join(directory, "case")
    without = {option[1:] for option in options if option.startswith("!")}
    with open(source, "w", encoding="ascii") as file:
        file.write(text)
    command = [os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-w", "-fcf-protection=none", "-fno-stack-protector", "-fno-asynchronous-unwind-tables"]
    command += [option for option in base if option not in without]
    command += ["-o", binary, source] + [option for option in options if not option.startswith("!")]
    compiler = subprocess.run(command, capture_output=True, text=True)
    if compiler.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{compiler.stderr}")
    return binary


def run(check_library, check_program):
    wrong = 0
    kinds = ((check_library, LIBRARIES, ["-fPIC", "-shared", "-nostdlib"], COMMON),
             (check_program, PROGRAMS, ["-static", "-nostdlib", "-no-pie", "-Wl,--build-id=none"],
              COMMON[:COMMON.index("void *malloc")]))
    with tempfile.TemporaryDirectory() as directory:
        for check, cases, base, common in kinds:
            for name, text, options, expected in cases:
                binary = build(directory, common + text, options, base)
                with contextlib.redirect_stdout(io.StringIO()):
                    findings = check(binary, (1, 1))
                wanted = expected if isinstance(expected, tuple) else (expected,)
                if expected is GOOD and not findings:
                    continue
                if expected is not GOOD and any(word in finding for word in wanted for finding in findings):
                    continue
                wrong += 1
                print(f"self-test: {check.__name__}: {name}: expected "
                      f"{'no finding' if expected is GOOD else expected}, found {findings or 'none'}")
            # Too little code to mean anything is refused however good it is.
            binary = build(directory, common + cases[0][1], cases[0][2], base)
            with contextlib.redirect_stdout(io.StringIO()):
                findings = check(binary, (1000, 100000))
            if not any("something was overlooked" in finding for finding in findings):
                wrong += 1
                print(f"self-test: {check.__name__}: a tiny child passes as a whole one")
    print(f"self-test: {len(LIBRARIES) + len(PROGRAMS) + 2 - wrong} cases right, {wrong} wrong")
    return 1 if wrong else 0
