"""bpf(2): maps, programs, test runs. Needs root (CAP_BPF, CAP_NET_ADMIN)."""
import ctypes
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)
NUMBER = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
MAP_CREATE, LOOKUP, UPDATE, DELETE, NEXT, PROG_LOAD, TEST_RUN, FREEZE = 0, 1, 2, 3, 4, 5, 10, 22


def call(command, attributes):
    attributes = attributes.ljust(144, b"\0")
    block = ctypes.create_string_buffer(attributes, len(attributes))
    done = libc.syscall(NUMBER, command, block, len(attributes))
    if done < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf command {command}: {os.strerror(error)}")
    return done, block.raw


def address(buffer):
    return ctypes.addressof(buffer)


class Map:
    def __init__(self, name, kind, key_size, value_size, entries, flags=0, inner=None):
        self.name, self.kind, self.key_size, self.value_size, self.entries, self.flags = name, kind, key_size, value_size, entries, flags
        self.per_cpu = kind in (5, 6, 10, 21)
        self.cpus = possible_cpus() if self.per_cpu else 1
        self.key_layout = self.value_layout = None
        label = name.encode()[:15].replace(b".", b"_")
        self.fd, _ = call(MAP_CREATE, struct.pack("<IIIIIiI16s", kind, key_size, value_size, entries, flags,
                                                  -1 if inner is None else inner.fd, 0, label)
                          if inner is not None else struct.pack("<IIIIIII16s", kind, key_size, value_size, entries, flags, 0, 0, label))

    @property
    def stride(self):
        return (self.value_size + 7) & ~7 if self.per_cpu else self.value_size

    def update(self, key, value, flags=0):
        k = ctypes.create_string_buffer(key, len(key))
        if self.per_cpu:
            value = value.ljust(self.stride, b"\0") * self.cpus
        v = ctypes.create_string_buffer(value, len(value))
        call(UPDATE, struct.pack("<IIQQQ", self.fd, 0, address(k), address(v), flags))

    def lookup(self, key):
        """The value, or one value per CPU joined; None when absent."""
        k = ctypes.create_string_buffer(key, len(key))
        v = ctypes.create_string_buffer(self.stride * self.cpus)
        try:
            call(LOOKUP, struct.pack("<IIQQQ", self.fd, 0, address(k), address(v), 0))
        except FileNotFoundError:
            return None
        return v.raw

    def delete(self, key):
        k = ctypes.create_string_buffer(key, len(key))
        try:
            call(DELETE, struct.pack("<IIQ", self.fd, 0, address(k)))
        except FileNotFoundError:
            pass

    def keys(self):
        found, previous = [], None
        following = ctypes.create_string_buffer(self.key_size)
        while True:
            k = None if previous is None else ctypes.create_string_buffer(previous, len(previous))
            try:
                call(NEXT, struct.pack("<IIQQ", self.fd, 0, 0 if k is None else address(k), address(following)))
            except FileNotFoundError:
                return found
            previous = following.raw
            found.append(previous)

    def freeze(self):
        call(FREEZE, struct.pack("<I", self.fd))

    def clear(self):
        if self.kind in (2, 6):  # arrays are zeroed
            for i in range(self.entries):
                self.update(struct.pack("<I", i), b"\0" * self.value_size)
        elif self.kind in (1, 5, 9, 10, 11, 12, 13):
            for key in self.keys():
                self.delete(key)

    def close(self):
        os.close(self.fd)


def possible_cpus():
    with open("/sys/devices/system/cpu/possible") as file:
        return int(file.read().strip().split("-")[-1]) + 1


class VerifierError(Exception):
    pass


def load_program(instructions, name, kind=3, log=False):
    """A program's descriptor; kind 3 is SCHED_CLS. Raises VerifierError with the end of the verifier's log."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"Dual BSD/GPL\0")
    size = 1 << 24 if log else 0
    text = ctypes.create_string_buffer(size or 1)
    attributes = struct.pack("<IIQQIIQII16sII", kind, len(instructions) // 8, address(code), address(licence), 1 if log else 0, size,
                             address(text) if log else 0, 0, 0, name.encode()[:15], 0, 0)
    try:
        return call(PROG_LOAD, attributes)[0]
    except OSError as error:
        if log:
            tail = text.raw.split(b"\0")[0].decode(errors="replace").splitlines()[-25:]
            raise VerifierError(f"{name}: {error.strerror}\n" + "\n".join(tail)) from None
        return load_program(instructions, name, kind, True)


CONTEXT = 192


def test_run(fd, frame, mark=0, ifindex=0, ingress_ifindex=0, cb=(0, 0, 0, 0, 0)):
    """(return value, frame afterwards, __sk_buff afterwards)."""
    data = ctypes.create_string_buffer(frame, len(frame))
    out = ctypes.create_string_buffer(65536)
    context = bytearray(CONTEXT)
    struct.pack_into("<I", context, 8, mark)
    struct.pack_into("<II", context, 36, ingress_ifindex, ifindex)
    struct.pack_into("<5I", context, 48, *cb)
    ctx_in = ctypes.create_string_buffer(bytes(context), CONTEXT)
    ctx_out = ctypes.create_string_buffer(CONTEXT)
    attributes = struct.pack("<IIIIQQIIIIQQIII", fd, 0, len(frame), len(out), address(data), address(out), 1, 0, CONTEXT, CONTEXT,
                             address(ctx_in), address(ctx_out), 0, 0, 0)
    _, block = call(TEST_RUN, attributes)
    retval, = struct.unpack_from("<i", block, 4)
    size, = struct.unpack_from("<I", block, 12)
    return retval, out.raw[:size], ctx_out.raw
