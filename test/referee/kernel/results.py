"""What the maps hold after a run, in the form of recorded vectors: connections and NAT entries of both families."""
import ipaddress

from fields import decode

CONNECTIONS = ("cilium_ct4_global", "cilium_ct_any4_global", "cilium_ct6_global", "cilium_ct_any6_global")
TRANSLATIONS = ("cilium_snat_v4_external", "cilium_snat_v6_external")
NOTED = ("node_port", "backend_id", "rx_closing", "tx_closing", "seen_non_syn", "lb_loopback", "proxy_redirect", "dsr_internal", "from_tunnel",
         "from_l7lb", "tx_flags_seen", "rx_flags_seen", "nat_port")


def connections(maps, now):
    found = []
    for name in CONNECTIONS:
        for key, value in records(maps, name):
            row = {"map": name.removeprefix("cilium_"), **tuple_of(key), "flags": key["flags"], "expires_in": value["lifetime"] - now,
                   "rev_nat_index": value["rev_nat_index"], "src_sec_id": value["src_sec_id"]}
            row.update({field: value[field] for field in NOTED if value.get(field)})
            if not row["flags"] & 4:
                row.pop("backend_id", None)  # shares its place with an address
            found.append(row)
    return found


def translations(maps):
    found = []
    for name in TRANSLATIONS:
        for key, value in records(maps, name):
            to, port = ("to_saddr", "to_sport") if "to_saddr" in value else ("nat_info.address", "nat_info.port")
            found.append({**tuple_of(key), "dir": "in" if key["flags"] & 1 else "out", "to_addr": address(value[to]), "to_port": value[port],
                          "needs_ct": value.get("common.needs_ct", value.get("needs_ct", 0))})
    return found


def records(maps, name):
    one = maps.get(name)
    for key in one.keys() if one is not None else []:
        yield decode(one.key_layout, key), decode(one.value_layout, one.lookup(key))


def tuple_of(key):
    return {"daddr": address(key["daddr"]), "saddr": address(key["saddr"]), "dport": key["dport"], "sport": key["sport"],
            "proto": key["nexthdr"]}


def address(value):
    return str(ipaddress.ip_address(value if isinstance(value, int) else bytes.fromhex(value)))
