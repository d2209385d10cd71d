"""Reads what the checks need to know of a 64-bit little-endian ELF file: sections, segments, symbols."""

import struct
from collections import namedtuple

PT_DYNAMIC, PT_INTERP, PT_TLS, PT_GNU_STACK = 2, 3, 7, 0x6474E551
PF_X, PF_W = 1, 2
SHT_SYMTAB, SHT_RELA, SHT_NOBITS, SHT_REL = 2, 4, 8, 9
SHF_ALLOC, SHF_EXECINSTR = 2, 4
STT_NOTYPE, STT_FUNC, STT_GNU_IFUNC = 0, 2, 10
EM_X86_64 = 62

Section = namedtuple("Section", "name type flags address offset size link entsize")
Segment = namedtuple("Segment", "type flags address size")
Symbol = namedtuple("Symbol", "name type address size section")


class Elf:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()
        if self.bytes[:6] != b"\x7fELF\x02\x01":
            raise ValueError(f"{path}: not a 64-bit little-endian ELF file")
        (_, self.machine, _, self.entry, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum, shstrndx) = (
            struct.unpack_from("<HHIQQQIHHHHHH", self.bytes, 16))
        self.segments = []
        for n in range(phnum):
            kind, flags, _, address, _, _, size, _ = struct.unpack_from("<IIQQQQQQ", self.bytes, phoff + n * phentsize)
            self.segments.append(Segment(kind, flags, address, size))
        self.sections = []
        for n in range(shnum):
            name, kind, flags, address, offset, size, link, _, _, entsize = (
                struct.unpack_from("<IIQQQQIIQQ", self.bytes, shoff + n * shentsize))
            self.sections.append(Section(name, kind, flags, address, offset, size, link, entsize))
        if self.sections:
            names = self.sections[shstrndx]
            self.sections = [s._replace(name=self._string(names, s.name)) for s in self.sections]
        self.symbols = list(self._symbols())

    def _string(self, table, at):
        start = table.offset + at
        return self.bytes[start:self.bytes.index(b"\0", start)].decode()

    def _symbols(self):
        for table in self.sections:
            if table.type != SHT_SYMTAB:
                continue
            for at in range(table.offset, table.offset + table.size, table.entsize):
                name, info, _, section, address, size = struct.unpack_from("<IBBHQQ", self.bytes, at)
                if name:
                    name = self._string(self.sections[table.link], name)
                    yield Symbol(name, info & 15, address, size, section)

    def code_sections(self):
        """The sections that hold instructions, in memory."""
        return [s for s in self.sections if s.flags & SHF_ALLOC and s.flags & SHF_EXECINSTR and s.size]

    def read(self, address, size):
        """Bytes by their address in memory; None where the file holds none."""
        for s in self.sections:
            if s.flags & SHF_ALLOC and s.type != SHT_NOBITS and s.address <= address and address + size <= s.address + s.size:
                start = s.offset + address - s.address
                return self.bytes[start:start + size]
        return None
