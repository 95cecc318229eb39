"""
Runs compiled Cilium programs for a caller that writes one JSON request a line and reads one JSON answer a line. Works in a network
namespace of its own with devices made for it; pins nothing, attaches nothing, and leaves nothing behind when it ends.

    {"op": "load", "objects": {"lxc:10": path, …}, "config": {"lxc:10": {name: number or hex}}, "uplink": 2, "pods": [10], "addresses": […]}
    {"op": "fill", "entries": [[map, object or null, {key field: value}, {value field: value}], …]}
    {"op": "table", "map": name, "key": {…}, "table": [numbers]}
    {"op": "forget", "maps": [names]}
    {"op": "run", "object": "lxc:10", "program": name or [names], "frame": hex, "mark": 0, "now": seconds, "ifindex": 10}

A field that starts with "?" is left out where the record has no such field; any other unknown field is an error. Exit 2: not root.
"""
import ctypes
import json
import os
import struct
import subprocess
import sys

from elf import BadObject
from fields import UnknownField, decode, encode, find
from instrument import REDIRECTS, Harness, insn
from loader import Loaded, canonical
from results import connections, translations
from sys_bpf import Map, VerifierError, load_program, test_run

DELIVERED = 4242
FAR = 100_000
#: Per-CPU room that programs hand to one another. The 1.20 branch does not clear what a new connection leaves unwritten there, so a
#: packet's policy could be skipped for what the packet before it on that CPU was; empty, it is each packet's own.
SCRATCH = ("cilium_tail_call_buffer4", "cilium_tail_call_buffer6")
OPERATIONS = {name: name for name in ("load", "fill", "table", "forget", "run")}
HELPERS = {23: "redirect", 152: "redirect_neigh", 155: "redirect_peer"}


class Worker:
    def __init__(self):
        self.harness = Harness()
        self.shared, self.objects, self.kept = {}, {}, []
        self.stub = load_program(insn(0xb7, 0, 0, 0, DELIVERED) + insn(0x95), "delivered")

    def load(self, request):
        network(request["uplink"], request["pods"], request["addresses"])
        errors, unset = {}, {}
        for name, path in request["objects"].items():
            one = self.objects[name] = Loaded(path, request["config"].get(name, {}), self.shared, self.harness)
            errors.update({f"{name} {program}": text for program, text in one.errors.items()})
            unset[name] = sorted(field for _, field in one.config_values.values() if field not in one.config)
        calls = self.shared.get("cilium_call_policy")
        for index in request.get("endpoints", []) if calls is not None else []:
            calls.update(struct.pack("<I", index), struct.pack("<I", self.stub))
        return {"maps": sorted(self.shared), "errors": errors, "unset": unset}

    def find(self, name, owner):
        """A map by name; one that an older version has without its suffix is found too."""
        names = (name, name.removesuffix("_v2"), name.removesuffix("_v3"), name + "_v2")
        if owner is not None:
            own = {canonical(n): one for n, one in self.objects[owner].maps.items()}
            return next((own[n] for n in names if n in own), None)
        return next((self.shared[n] for n in names if n in self.shared), None)

    def fill(self, request):
        missing = set()
        for name, owner, key, value in request["entries"]:
            one = self.find(name, owner)
            if one is None:
                missing.add(name)
                continue
            one.update(encode(one.key_layout, one.key_size, optional(one.key_layout, key)),
                       encode(one.value_layout, one.value_size, optional(one.value_layout, value)))
        return {"missing": sorted(missing)}

    def table(self, request):
        outer = self.find(request["map"], None)
        table = request["table"]
        inner = Map("table", 2, 4, 4 * len(table), 1)
        inner.update(b"\0\0\0\0", struct.pack(f"<{len(table)}I", *table))
        outer.update(struct.pack("<H", request["key"]).ljust(outer.key_size, b"\0"), struct.pack("<I", inner.fd))
        self.kept.append(inner)
        return {}

    def forget(self, request):
        for name in request["maps"]:
            one = self.find(name, None)
            if one is not None:
                one.clear()
        return {}

    def run(self, request):
        one = self.objects[request["object"]]
        names = request["program"] if isinstance(request["program"], list) else [request["program"]]
        name = next((n for n in names if n in one.functions), None)
        if name is None:
            raise BadObject(f"{one.path}: none of the programs {', '.join(names)}")
        metrics = self.shared["cilium_metrics"]
        metrics.clear()
        for scratch in SCRATCH:
            if scratch in self.shared:
                self.shared[scratch].clear()
        self.harness.prepare(request["now"] * 1_000_000_000, request.get("random", 1))
        retval, frame, context = test_run(one.program(name), bytes.fromhex(request["frame"]), request.get("mark", 0), request["ifindex"],
                                          request["ifindex"])
        return {**self.verdict(retval, metrics), "packet_out_hex": frame.hex(), "mark": hex(struct.unpack_from("<I", context, 8)[0]),
                "ct_after": connections(self.shared, request["now"]), "nat_after": translations(self.shared)}

    def verdict(self, retval, metrics):
        _, by, to, flags = struct.unpack_from("<IIII", self.harness.read(), REDIRECTS)
        if retval == 2:
            reasons = sorted({decode(metrics.key_layout, key)["reason"] for key in metrics.keys()})
            drops = [reason for reason in reasons if reason >= 130]
            return {"verdict": "drop", "drop_reason": drops[0] if len(drops) == 1 else drops}
        if retval == 7:
            return {"verdict": "redirect", "redirect": {"by": HELPERS.get(by, "?"), "ifindex": to, "flags": flags}}
        if retval == DELIVERED:
            return {"verdict": "deliver-to-local-endpoint"}
        return {"verdict": "forward" if retval in (0, -1) else f"retval {retval}"}


def optional(layout, fields):
    found = {}
    for name, value in fields.items():
        if name.startswith("?"):
            name = name[1:]
            if find(layout, name) is None:
                continue
        found[name] = value
    return found


def network(uplink, pods, addresses):
    """Devices with the numbers asked for; every address' network has a gateway, its last address but one."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
        raise PermissionError(os.strerror(ctypes.get_errno()))
    lines = ["link set lo up"]
    for name, index in [("uplink", uplink)] + [(f"pod{pod}", pod) for pod in pods]:
        # The far end is made first and must not take a number that is asked for.
        lines += [f"link add {name} index {index} type veth peer name {name}p index {index + FAR}", f"link set {name} up", f"link set {name}p up"]
    for one in addresses:
        lines.append(f"addr add {one['address']} dev uplink" + (" nodad" if ":" in one["address"] else ""))
        lines.append(f"neigh add {one['gateway']} lladdr 02:00:00:00:00:fe dev uplink")
        lines.append(f"route add {'::/0' if ':' in one['address'] else 'default'} via {one['gateway']} dev uplink")
    run = subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, capture_output=True, check=False)
    if run.returncode:
        raise RuntimeError(f"ip: {run.stderr.strip()}")
    for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        if os.path.exists("/proc/sys/" + name):
            with open("/proc/sys/" + name, "w", encoding="ascii") as file:
                file.write("1")


def main():
    try:
        worker = Worker()
    except PermissionError:
        print(json.dumps({"error": "bpf(2) refused: run as root"}), flush=True)
        return 2
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, OPERATIONS[request["op"]])(request)
        except (BadObject, VerifierError, UnknownField, OSError, RuntimeError, KeyError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
