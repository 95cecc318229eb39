"""Keys and values of a real map from fields by name, and back, by the layout that the object's own BTF tells."""
import ipaddress


class UnknownField(Exception):
    pass


def encode(layout, size, fields):
    """Bytes of a record; a field that the record has not raises UnknownField, one that is not given is 0."""
    out = bytearray(size)
    for name, value in fields.items():
        leaf = find(layout, name)
        if leaf is None:
            raise UnknownField(f"{name}: the record has {', '.join(sorted({entry[0] for entry in layout}))}")
        put(out, leaf, value)
    return bytes(out)


def find(layout, name):
    return next((entry for entry in layout if entry[0] == name), None) or next((entry for entry in layout if entry[0].endswith("." + name)), None)


def put(out, leaf, value):
    _, bit, bits, _, _ = leaf
    if isinstance(value, str):
        data = packed(value)
        out[bit // 8:bit // 8 + len(data)] = data
        return
    if bit % 8 or bits % 8:
        at, length = bit // 8, (bit % 8 + bits + 7) // 8
        word = int.from_bytes(out[at:at + length], "little")
        mask = ((1 << bits) - 1) << (bit % 8)
        out[at:at + length] = ((word & ~mask) | (int(value) << (bit % 8) & mask)).to_bytes(length, "little")
        return
    out[bit // 8:(bit + bits) // 8] = int(value).to_bytes(bits // 8, "big" if wire(leaf) else "little")


def wire(leaf):
    """Whether a number is in network byte order. Up to 1.17 the policy key's port is, without saying so in its type."""
    return leaf[3] or leaf[2] == 16 and leaf[0].split(".")[-1] in ("dport", "sport", "port")


def packed(text):
    """An address, a MAC address or hex digits as bytes."""
    if text.startswith("hex:"):
        return bytes.fromhex(text[4:])
    if text.count(":") == 5 and "::" not in text:
        return bytes.fromhex(text.replace(":", ""))
    return ipaddress.ip_address(text).packed


def decode(layout, data):
    """Every leaf of a record by name: numbers, bytes as hex."""
    fields = {}
    for name, bit, bits, big, wide in layout:
        if name in fields or bits == 0:
            continue
        if bit % 8 or bits % 8:
            at, length = bit // 8, (bit % 8 + bits + 7) // 8
            fields[name] = int.from_bytes(data[at:at + length], "little") >> (bit % 8) & ((1 << bits) - 1)
        elif wide or bits > 64:
            fields[name] = data[bit // 8:(bit + bits) // 8].hex()
        else:
            order = "big" if wire((name, bit, bits, big, wide)) else "little"
            fields[name] = int.from_bytes(data[bit // 8:(bit + bits) // 8], order)
    return fields
