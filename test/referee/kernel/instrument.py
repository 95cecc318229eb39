"""
Calls of helpers that read time or chance, or that send a packet away, are made to read and write one array of the harness, so that a
run is repeatable and what it asked for can be seen. The instructions are put in before a program is loaded; nothing else of it changes.
"""
import struct

from sys_bpf import Map

#: Offsets in the harness' value.
NOW, RANDOM, REDIRECTS, REDIRECT_BY, REDIRECT_TO, REDIRECT_FLAGS, TUNNELS, TUNNEL_KEY, OPTION_SIZE, OPTION = 0, 8, 16, 20, 24, 28, 32, 40, 96, 104
HARNESS_SIZE = 256


class Harness(Map):
    def __init__(self):
        super().__init__("harness", 2, 4, HARNESS_SIZE, 1)
        self.zero = struct.pack("<I", 0)

    def prepare(self, now_ns, random):
        self.update(self.zero, struct.pack("<QI", now_ns, random & 0xffffffff).ljust(HARNESS_SIZE, b"\0"))

    def read(self):
        return self.lookup(self.zero)


def insn(code, dst=0, src=0, off=0, imm=0):
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


def harness_pointer(dst, harness, at=0):
    return insn(0x18, dst, 2, 0, harness.fd) + insn(0, 0, 0, 0, at)


def patches(harness):
    """By helper number: (instructions before the call, whether the call stays)."""
    pointer = harness_pointer(0, harness)
    clock = pointer + insn(0x79, 0, 0, NOW)
    # A linear congruential generator, so that a loop of draws gets new numbers.
    draw = pointer + insn(0x61, 1, 0, RANDOM) + insn(0x24, 1, 0, 0, 1664525) + insn(0x04, 1, 0, 0, 1013904223) \
        + insn(0x63, 0, 1, RANDOM) + insn(0xbc, 0, 1)

    def redirect(number, flags_register):
        return pointer + insn(0x62, 0, 0, REDIRECT_BY, number) + insn(0x63, 0, 1, REDIRECT_TO) \
            + insn(0x63, 0, flags_register, REDIRECT_FLAGS) + insn(0x62, 0, 0, REDIRECTS, 1)

    key = pointer + insn(0x62, 0, 0, TUNNELS, 1)
    for at in range(0, 44, 4):
        key += insn(0x61, 5, 2, at) + insn(0x63, 0, 5, TUNNEL_KEY + at)
    return {5: (clock, False), 125: (clock, False), 160: (clock, False), 7: (draw, False), 23: (redirect(23, 2), True),
            152: (redirect(152, 4), True), 155: (redirect(155, 2), True), 21: (key, True)}


def expand(code, relocations, table):
    """Instructions with patches in, jumps mended; (code, relocations by instruction)."""
    count = len(code) // 8
    parts, places = [], []
    at = 0
    index = 0
    while index < count:
        one = code[8 * index:8 * index + 8]
        wide = one[0] == 0x18
        before, stays = b"", True
        if one[0] == 0x85 and one[1] >> 4 == 0 and index not in relocations:
            number, = struct.unpack_from("<i", one, 4)
            before, stays = table.get(number, (b"", True))
        places.append(at)
        body = before + (one if stays else b"")
        at += len(body) // 8
        parts.append((one, before, stays))
        index += 1
        if wide:
            places.append(at)
            at += 1
            parts.append((code[8 * index:8 * index + 8], b"", True))
            index += 1
    places.append(at)
    out = bytearray()
    moved = {}
    wide = False
    for index, (one, before, stays) in enumerate(parts):
        out += before
        own = len(out) // 8
        if index in relocations:
            moved[own] = relocations[index]
        if stays:
            out += one if wide else mended(one, index, own, places)
        wide = one[0] == 0x18 and not wide
    return bytes(out), moved, places


def mended(one, index, own, places):
    code, registers, off, imm = struct.unpack("<BBhi", one)
    kind = code & 7
    if kind not in (5, 6) or code & 0xf0 in (0x80, 0x90):
        return one
    if code == 0x06:
        return struct.pack("<BBhi", code, registers, off, places[index + 1 + imm] - own - 1)
    return struct.pack("<BBhi", code, registers, places[index + 1 + off] - own - 1, imm)
