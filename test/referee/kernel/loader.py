"""
Loads a compiled object as Cilium's agent does: maps made from their declarations, configuration put in, tail calls entered into
their map.
"""
import re
import struct

from elf import ARRAY, EXECUTABLE, FUNCTION, PTR, BadObject, Object
from instrument import expand, patches
from sys_bpf import Map, VerifierError, load_program

PROG_ARRAY, PERCPU_HASH, PERF_ARRAY, LRU, LRU_PERCPU, LPM, ARRAY_OF_MAPS, HASH_OF_MAPS = 3, 5, 4, 9, 10, 11, 12, 13
RDONLY_PROG = 1 << 7
class Program:
    def __init__(self, name, section, code, relocations, start):
        self.name, self.section, self.code, self.relocations, self.start = name, section, code, relocations, start


class Definition:
    """What an object says of a map."""

    def __init__(self, name, kind, key, value, entries, flags, identity=None, inner=None, key_type=None, value_type=None):
        self.name, self.kind, self.key, self.value, self.entries, self.flags = name, kind, key, value, entries, flags
        self.identity, self.inner, self.key_type, self.value_type = identity, inner, key_type, value_type


class Loaded:
    """An object in the kernel with one configuration. `maps` holds maps shared between objects, by Cilium's name."""

    def __init__(self, path, config, shared, harness, private=("cilium_calls", "cilium_policy", ".")):
        self.object = Object(path)
        self.path, self.config, self.harness = path, config, harness
        self.definitions = self._definitions()
        self.maps, self.errors = {}, {}
        for name, definition in self.definitions.items():
            known = canonical(name)
            mine = any(known.startswith(p) for p in private) and not known.startswith("cilium_policy_stats") \
                and not known.startswith("cilium_policystats")
            if not mine and known in shared:
                self.maps[name] = shared[known]
                continue
            self.maps[name] = self._create(definition)
            if not mine:
                shared[known] = self.maps[name]
        self.unknown_config = set(config)
        self._data_maps()
        self.functions = {p.name: p for p in self._functions()}
        self.by_place = {(p.section.index, p.start): p for p in self.functions.values()}
        self.table = patches(harness)
        self.expanded, self.descriptors = {}, {}
        self._tail_calls()

    # Maps

    def _definitions(self):
        found = {}
        legacy = self.object.section("maps")
        if legacy is not None:
            for symbol in self.object.symbols:
                if symbol.section == legacy.index and symbol.kind == 1:
                    kind, key, value, entries, flags, identity, _pin, _inner, _index = struct.unpack_from("<9I", legacy.data, symbol.value)
                    found[symbol.name] = Definition(symbol.name, kind, key, value, entries, flags, identity)
        btf = self.object.btf
        section = btf.datasec(".maps") if btf is not None else None
        for variable, _offset, _size in section.members if section is not None else []:
            name = btf.types[variable].name
            found[name] = self._definition(name, btf.types[variable].type)
        if not found:
            raise BadObject(f"{self.object}: no maps")
        return found

    def _definition(self, name, index):
        btf = self.object.btf
        one, _ = btf.resolve(index)
        number = lambda t: btf.types[btf.types[t].type].array[2]
        fields = {"type": 0, "key_size": 0, "value_size": 0, "max_entries": 0, "map_flags": 0, "id": None}
        key_type = value_type = inner = None
        for field, target, _ in one.members:
            if field in fields:
                fields[field] = number(target)
            elif field == "key":
                key_type = btf.types[target].type
                fields["key_size"] = btf.size(key_type)
            elif field == "value":
                value_type = btf.types[target].type
                fields["value_size"] = btf.size(value_type)
            elif field == "values":
                pointer, _ = btf.resolve(target)
                element, _ = btf.resolve(pointer.array[0]) if pointer.kind == ARRAY else (pointer, None)
                aim, _ = btf.resolve(element.type) if element.kind == PTR else (element, None)
                if aim.members:
                    inner = self._definition(name + "_inner", element.type)
        if fields["type"] in (PROG_ARRAY, ARRAY_OF_MAPS, HASH_OF_MAPS, PERF_ARRAY):
            fields["value_size"] = 4
        if fields["type"] in (PROG_ARRAY, ARRAY_OF_MAPS, PERF_ARRAY):
            fields["key_size"] = 4
        return Definition(name, fields["type"], fields["key_size"], fields["value_size"], fields["max_entries"], fields["map_flags"],
                          fields["id"], inner, key_type, value_type)

    def _create(self, one):
        entries = one.entries
        if one.kind in (LRU, LRU_PERCPU):
            entries = min(entries, 1 << 14)
        elif one.kind in (1, PERCPU_HASH, LPM, PROG_ARRAY):
            entries = min(entries, 1 << 16)
        if one.kind == PERF_ARRAY:
            entries = entries or 2
        inner = self._create(one.inner) if one.inner is not None else None
        made = Map(one.name, one.kind, one.key, one.value, max(1, entries), one.flags, inner)
        made.inner_definition = one.inner
        btf = self.object.btf
        if one.key_type is not None:
            made.key_layout, made.value_layout = btf.layout(one.key_type), btf.layout(one.value_type)
        return made

    def _data_maps(self):
        symbols = {}
        for symbol in self.object.symbols:
            if symbol.kind == 1:
                symbols.setdefault(symbol.section, []).append(symbol)
        self.config_values = {}
        for section in self.object.sections:
            if section.kind not in (1, 8) or not re.match(r"\.(rodata|data|bss)", section.name) or section.flags & EXECUTABLE:
                continue
            if not section.flags & 2:
                continue
            data = bytearray(section.data)
            for symbol in symbols.get(section.index, []):
                if not symbol.name.startswith("__config_"):
                    continue
                name = symbol.name[len("__config_"):]
                if name in self.config:
                    self.unknown_config.discard(name)
                    data[symbol.value:symbol.value + symbol.size] = encode_number(self.config[name], symbol.size)
                self.config_values[symbol.value] = (symbol.size, name)
            section.content = bytes(data)
            made = Map(section.name, 2, 4, len(data), 1, RDONLY_PROG if section.name.startswith(".rodata") else 0)
            made.update(b"\0\0\0\0", bytes(data))
            if section.name.startswith(".rodata"):
                made.freeze()
            self.maps[section.name] = made

    # Programs

    def _functions(self):
        for symbol in self.object.symbols:
            if symbol.kind != FUNCTION:
                continue
            section = self.object.sections[symbol.section]
            if not section.flags & EXECUTABLE:
                continue
            relocations = {(offset - symbol.value) // 8: (kind, target) for offset, kind, target in section.relocations
                           if symbol.value <= offset < symbol.value + symbol.size}
            yield Program(symbol.name, section, section.data[symbol.value:symbol.value + symbol.size], relocations, symbol.value)

    def _expanded(self, program):
        if program.name not in self.expanded:
            self.expanded[program.name] = expand(program.code, program.relocations, self.table)
        return self.expanded[program.name]

    def _callee(self, program, index, code, relocation):
        """The function that a call goes to."""
        if relocation is not None:
            _, symbol = relocation
            if symbol.kind == FUNCTION:
                return self.functions[symbol.name]
            imm, = struct.unpack_from("<i", code, 8 * index + 4)
            return self.by_place[(symbol.section, (imm + 1) * 8)]
        raise BadObject(f"{program.name}: a call without relocation")

    def _link(self, root):
        """Code of a program with the functions it calls behind it."""
        order, starts, queue = [], {}, [root]
        size = 0
        while queue:
            one = queue.pop(0)
            if one.name in starts:
                continue
            starts[one.name] = size
            code, relocations, _ = self._expanded(one)
            order.append(one)
            size += len(code) // 8
            for index, relocation in relocations.items():
                if code[8 * index] == 0x85:
                    queue.append(self._callee(one, index, code, relocation))
        out = bytearray()
        for one in order:
            code, relocations, _ = self._expanded(one)
            body = bytearray(code)
            for index, relocation in relocations.items():
                if body[8 * index] == 0x85:
                    callee = self._callee(one, index, code, relocation)
                    body[8 * index + 1] = 0x10
                    struct.pack_into("<i", body, 8 * index + 4, starts[callee.name] - starts[one.name] - index - 1)
                else:
                    self._relocate(body, index, relocation[1])
            out += body
        return bytes(out)

    def _relocate(self, body, index, symbol):
        register = body[8 * index + 1] & 15
        if symbol.name in self.definitions and self.object.sections[symbol.section].name in ("maps", ".maps"):
            body[8 * index + 1] = register | 0x10
            struct.pack_into("<i", body, 8 * index + 4, self.maps[symbol.name].fd)
            return
        section = self.object.sections[symbol.section]
        at, = struct.unpack_from("<i", body, 8 * index + 4)
        at += symbol.value if symbol.kind != 3 else 0
        if section.name not in self.maps:
            raise BadObject(f"relocation against {symbol.name} in {section.name}")
        if section.name == ".rodata.config" and symbol.kind == 3 and at in self.config_values:
            size, _ = self.config_values[at]  # up to 1.16 the loader puts the value itself into the instruction
            value, = struct.unpack("<Q", section.content[at:at + size].ljust(8, b"\0"))
            struct.pack_into("<I", body, 8 * index + 4, value & 0xffffffff)
            struct.pack_into("<I", body, 8 * index + 12, value >> 32)
            return
        body[8 * index + 1] = register | 0x20
        struct.pack_into("<i", body, 8 * index + 4, self.maps[section.name].fd)
        struct.pack_into("<i", body, 8 * index + 12, at)

    def program(self, name):
        """The descriptor of a program, loaded on first use."""
        if name not in self.descriptors:
            self.descriptors[name] = load_program(self._link(self.functions[name]), name)
        return self.descriptors[name]

    def _tail_calls(self):
        btf = self.object.btf
        calls = next((self.maps[n] for n in self.definitions if canonical(n) == "cilium_calls"), None)
        self.tails = {}
        for text, target, component in btf.tags if btf is not None else []:
            match = re.match(r"tail:(\w+)/(\w+)", text)
            if match and component == -1 and btf.types[target].name in self.functions:
                self.tails[int(match[2], 0)] = btf.types[target].name
        for program in self.functions.values():
            match = re.match(r"2/(\w+)$", program.section.name)
            if match:
                self.tails[int(match[1], 0)] = program.name
        for slot, name in self.tails.items():
            try:
                calls.update(struct.pack("<I", slot), struct.pack("<I", self.program(name)))
            except VerifierError as error:
                self.errors[name] = str(error)


def canonical(name):
    """Cilium's name of a map without an endpoint's number."""
    return re.sub(r"_\d{5}$", "", name)


def encode_number(value, size):
    if isinstance(value, str):
        return bytes.fromhex(value).ljust(size, b"\0")[:size]
    return int(value).to_bytes(size, "little")
