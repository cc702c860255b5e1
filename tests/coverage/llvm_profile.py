"""Reads what `-C instrument-coverage` leaves: the map in a program (which lines have which counter)
and the counts of a run. LLVM's own tools must be of the compiler's very version, which no system
package is; the two formats are short and described in LLVM's documentation (CoverageMappingFormat,
InstrProfilingFormat)."""

import hashlib
import struct
import zlib

RAW_MAGIC = b"\x81rforpl\xff"
RAW_VERSION = 10
RAW_HEADER = struct.Struct("<8s15Q")
RAW_RECORD = struct.Struct("<QQq3QI3H2xI")
MAP_VERSIONS = range(5, 8)
"""As stored, which is one less than the names in the documentation."""

BRANCH, DECISION, CONDITION = 4, 5, 6
GAP = 1 << 31


class Unreadable(Exception):
    """Of another version, or damaged."""


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self):
        """LEB128."""
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def take(self, count):
        self.at += count
        return self.data[self.at - count:self.at]


def sections(program):
    """The sections of a 64-bit little-endian ELF file, by name."""
    if program[:6] != b"\x7fELF\x02\x01":
        raise Unreadable("not a 64-bit little-endian ELF file")
    table, = struct.unpack_from("<Q", program, 0x28)
    size, count, names = struct.unpack_from("<3H", program, 0x3A)
    headers = [struct.unpack_from("<II4Q", program, table + size * n) for n in range(count)]
    name_at = headers[names][4]
    found = {}
    for name, _, _, _, offset, length in headers:
        end = program.index(b"\0", name_at + name)
        found[program[name_at + name:end].decode()] = program[offset:offset + length]
    return found


def counts(raw):
    """The counters of a run by function: `{(name, hash): [count, …]}`."""
    magic, version, *rest = RAW_HEADER.unpack_from(raw)
    if magic != RAW_MAGIC or version & 0xFFFF != RAW_VERSION:
        raise Unreadable(f"a profile of version {version & 0xFFFF}, not {RAW_VERSION}")
    binary_ids, functions, padding, _, _, _, _, _, delta, *_ = rest
    first = RAW_HEADER.size + binary_ids
    counters = first + functions * RAW_RECORD.size + padding
    found = {}
    for number in range(functions):
        at = number * RAW_RECORD.size
        name, digest, pointer, _, _, _, count, *_ = RAW_RECORD.unpack_from(raw, first + at)
        # Relative to its own record; the header has the same for the first of both.
        offset = counters + (pointer + at - delta) % (1 << 64)
        found[name, digest] = struct.unpack_from(f"<{count}Q", raw, offset)
    return found


def file_names(covmap):
    """Lists of files by the hash that functions name them by."""
    found, at = {}, 0
    while at + 16 <= len(covmap):
        _, size, _, version = struct.unpack_from("<4I", covmap, at)
        if version not in MAP_VERSIONS:
            raise Unreadable(f"a coverage map of version {version + 1}")
        encoded = covmap[at + 16:at + 16 + size]
        at += 16 + size + (-size) % 8
        reader = Reader(encoded)
        count, plain, packed = reader.number(), reader.number(), reader.number()
        names = Reader(zlib.decompress(reader.take(packed)) if packed else reader.take(plain))
        key = int.from_bytes(hashlib.md5(encoded).digest()[:8], "little")
        found[key] = [names.take(names.number()).decode() for _ in range(count)]
    return found


def regions(program, counted):
    """Each region of code and how often a run came through it:
    `(file, (first line, first column, last line, last column), count)`."""
    parts = sections(program)
    files = file_names(parts["__llvm_covmap"])
    functions, at = parts["__llvm_covfun"], 0
    while at + 28 <= len(functions):
        name, size, digest, names = struct.unpack_from("<QIQQ", functions, at)
        reader = Reader(functions[at + 28:at + 28 + size])
        at += 28 + size + (-(28 + size)) % 8
        yield from of_function(reader, files[names], counted.get((name, digest), ()))


def of_function(reader, names, counters):
    own = [names[reader.number()] for _ in range(reader.number())]
    expressions = [(reader.number(), reader.number()) for _ in range(reader.number())]
    known = {}

    def value(counter):
        kind, number = counter & 3, counter >> 2
        if kind == 0:
            return 0
        if kind == 1:
            return counters[number] if number < len(counters) else 0
        if counter not in known:
            left, right = map(value, expressions[number])
            known[counter] = max(left - right, 0) if kind == 2 else left + right
        return known[counter]

    for name in own:
        line = 0
        for _ in range(reader.number()):
            header = reader.number()
            counter, kind = header, 0
            if header & 3 == 0:
                expansion, kind = header & 4, header >> 3
                if kind in (BRANCH, CONDITION):
                    reader.number(), reader.number()
                elif kind == DECISION:
                    reader.number(), reader.number()
                if kind == CONDITION:
                    reader.number(), reader.number(), reader.number()
                kind = -1 if expansion else kind
            line += reader.number()
            column, lines, end = reader.number(), reader.number(), reader.number()
            if kind == 0 and not end & GAP:
                yield name, (line, column, line + lines, end), value(counter)
