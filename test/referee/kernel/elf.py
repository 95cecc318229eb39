"""A compiled BPF object: ELF sections, symbols, relocations, and its BTF types. Little-endian, 64 bit, read-only."""
import struct


class Section:
    def __init__(self, index, name, kind, flags, data, link, info):
        self.index, self.name, self.kind, self.flags, self.data, self.link, self.info = index, name, kind, flags, data, link, info
        self.relocations = []


class Symbol:
    def __init__(self, name, kind, section, value, size):
        self.name, self.kind, self.section, self.value, self.size = name, kind, section, value, size


class BadObject(Exception):
    """The file is no BPF object that can be read; says what was expected."""


EXECUTABLE = 4
FUNCTION = 2


class Object:
    """Sections by index, symbols by index, BTF or None. Raises BadObject."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.raw = file.read()
        raw = self.raw
        if raw[:4] != b"\x7fELF" or len(raw) < 64 or raw[4] != 2 or raw[5] != 1:
            raise BadObject(f"{path}: not a 64-bit little-endian ELF file")
        machine, = struct.unpack_from("<H", raw, 18)
        if machine != 247:
            raise BadObject(f"{path}: ELF machine {machine}, expected 247 (BPF)")
        start, = struct.unpack_from("<Q", raw, 40)
        size, count, names = struct.unpack_from("<HHH", raw, 58)
        heads = [struct.unpack_from("<IIQQQQIIQQ", raw, start + i * size) for i in range(count)]
        strings = heads[names]
        self.sections = []
        for i, (name, kind, flags, _addr, offset, length, link, info, _align, _entry) in enumerate(heads):
            data = b"" if kind == 8 else raw[offset:offset + length]
            self.sections.append(Section(i, cstring(raw, strings[4] + name), kind, flags, data, link, info))
        self.symbols = []
        self._read_symbols()
        self._read_relocations()
        btf = self.section(".BTF")
        self.btf = Btf(btf.data) if btf is not None else None

    def section(self, name):
        return next((s for s in self.sections if s.name == name), None)

    def _read_symbols(self):
        for section in self.sections:
            if section.kind != 2:
                continue
            strings = self.sections[section.link].data
            for at in range(0, len(section.data), 24):
                name, info, _other, index, value, size = struct.unpack_from("<IBBHQQ", section.data, at)
                text = cstring(strings, name)
                if info & 15 == 3 and index < len(self.sections):
                    text = self.sections[index].name
                self.symbols.append(Symbol(text, info & 15, index, value, size))

    def _read_relocations(self):
        for section in self.sections:
            if section.kind != 9:
                continue
            target = self.sections[section.info]
            for at in range(0, len(section.data), 16):
                offset, info = struct.unpack_from("<QQ", section.data, at)
                target.relocations.append((offset, info & 0xffffffff, self.symbols[info >> 32]))


def cstring(data, at):
    return data[at:data.index(b"\0", at)].decode()


class Type:
    __slots__ = ("name", "kind", "size", "type", "members", "array", "bitfields")

    def __init__(self, name, kind, size):
        self.name, self.kind, self.size = name, kind, size
        self.type, self.members, self.array, self.bitfields = size, [], None, False


INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, \
    ENUM64 = range(1, 20)


class Btf:
    """Types by id (0 is void)."""

    def __init__(self, data):
        _magic, _version, _flags, head, type_off, type_len, str_off, _str_len = struct.unpack_from("<HBBIIIII", data, 0)
        self.types = [Type("void", 0, 0)]
        self.tags = []
        at, end, strings = head + type_off, head + type_off + type_len, head + str_off
        while at < end:
            name, info, size = struct.unpack_from("<III", data, at)
            at += 12
            count, kind = info & 0xffff, (info >> 24) & 31
            one = Type(cstring(data, strings + name), kind, size)
            one.bitfields = bool(info >> 31)
            if kind == INT:
                at += 4
            elif kind == ARRAY:
                one.array = struct.unpack_from("<III", data, at)
                at += 12
            elif kind in (STRUCT, UNION):
                for _ in range(count):
                    field, target, offset = struct.unpack_from("<III", data, at)
                    one.members.append((cstring(data, strings + field), target, offset))
                    at += 12
            elif kind in (ENUM, PROTO):
                at += 8 * count
            elif kind == ENUM64:
                at += 12 * count
            elif kind == VAR:
                at += 4
            elif kind == DATASEC:
                for _ in range(count):
                    one.members.append(struct.unpack_from("<III", data, at))
                    at += 12
            elif kind == DECL_TAG:
                component, = struct.unpack_from("<i", data, at)
                self.tags.append((one.name, size, component))
                at += 4
            self.types.append(one)

    def resolve(self, index):
        """The type behind typedefs and qualifiers, and the names of the typedefs on the way."""
        names = []
        one = self.types[index]
        while one.kind in (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG):
            if one.kind == TYPEDEF:
                names.append(one.name)
            one = self.types[one.type]
        return one, names

    def size(self, index):
        one, _ = self.resolve(index)
        if one.kind == PTR:
            return 8
        if one.kind == ARRAY:
            return one.array[2] * self.size(one.array[0])
        return one.size

    def layout(self, index, base=0, prefix=""):
        """Leaves of a type: (name, bit offset, bits, is big-endian number, is bytes). Unions list every view of theirs."""
        one, names = self.resolve(index)
        if one.kind in (STRUCT, UNION):
            leaves = []
            for name, target, offset in one.members:
                bits, at = (offset >> 24, offset & 0xffffff) if one.bitfields else (0, offset)
                inner, inner_names = self.resolve(target)
                path = name if prefix == "" or name == "" else f"{prefix}.{name}"
                if name == "":
                    path = prefix
                if bits:
                    leaves.append((path, base + at, bits, False, False))
                elif inner.kind in (STRUCT, UNION) and inner.size:
                    if name != "":
                        leaves.append((path, base + at, inner.size * 8, False, True))
                    leaves += self.layout(target, base + at, path)
                else:
                    wide = inner.kind == ARRAY
                    swapped = any(n.startswith("__be") for n in inner_names)
                    leaves.append((path, base + at, self.size(target) * 8, swapped, wide))
            return leaves
        return [(prefix, base, self.size(index) * 8, any(n.startswith("__be") for n in names), one.kind == ARRAY)]

    def datasec(self, name):
        return next((t for t in self.types if t.kind == DATASEC and t.name == name), None)
