"""Builds and removes the namespaces, links, routes and rules of the lab. Touches only namespaces called tl-*."""

import hashlib, os, signal, subprocess as sp, sys, time
import rules as generator
from options import OPTIONS
from topology import *


def sh(c, ok=False, **k):
    r = sp.run(c, shell=isinstance(c, str), capture_output=True, text=True, **k)
    if r.returncode and not ok:
        sys.exit(f'FAILED {c}\n{r.stdout}{r.stderr}')
    return r.stdout


def ns(n):
    return P + n


def X(n, c, **k):
    return sh(f'ip netns exec {ns(n)} {c}', **k)


def ip(n, c, **k):
    return sh(f'ip -n {ns(n)} {c}', **k)


ALLNS = ['rtr', 'client', 'node1', 'node2'] + list(PODS)


def mac(n, i):
    """The same for the same device of the same namespace in every run, so node facts are the same too."""
    return '0a:' + ':'.join(f'{b:02x}' for b in hashlib.sha256(f'{n}/{i}'.encode()).digest()[:5])


def veth(n1, i1, n2, i2):
    ends = f'link add {i1} address {mac(n1, i1)} netns {ns(n1)} type veth'
    sh(f'ip {ends} peer name {i2} address {mac(n2, i2)} netns {ns(n2)}')
    for n, i in ((n1, i1), (n2, i2)):
        ip(n, f'link set {i} up')
        offl(n, i)


def offl(n, i):
    # without this a capture on veth shows checksums that were never filled in and TCP "packets" of up to 64 kB
    if OPTIONS.offload == 'off':
        X(n, f'ethtool -K {i} tx off rx off tso off gso off gro off tx-udp-segmentation off', ok=True)


def down():
    ex = sh('ip -br netns list', ok=True) or ''
    for n in ALLNS:
        if os.path.exists(f'/run/netns/{ns(n)}'):
            for p in sh(f'ip netns pids {ns(n)}', ok=True).split():
                os.kill(int(p), signal.SIGTERM)
    time.sleep(0.3)
    for n in ALLNS:
        if os.path.exists(f'/run/netns/{ns(n)}'):
            for p in sh(f'ip netns pids {ns(n)}', ok=True).split():
                os.kill(int(p), signal.SIGKILL)
            sh(f'ip netns del {ns(n)}')


SYSCTL = {
    'all': [
        'net.ipv6.conf.all.accept_dad=0',
        'net.ipv6.conf.default.accept_dad=0',
        'net.ipv6.conf.all.accept_ra=0',
        'net.ipv6.conf.default.accept_ra=0',
        'net.ipv6.conf.default.router_solicitations=0',
        'net.ipv6.conf.all.disable_ipv6=0',
    ],
    'node': [
        'net.ipv4.ip_forward=1',
        'net.ipv6.conf.all.forwarding=1',
        'net.ipv4.conf.all.rp_filter=0',
        'net.ipv4.conf.default.rp_filter=0',
        'net.ipv4.conf.all.send_redirects=0',
        'net.ipv4.conf.default.send_redirects=0',
        'net.ipv4.conf.all.log_martians=0',
        'net.ipv4.icmp_ratelimit=0',
        'net.ipv4.icmp_msgs_per_sec=10000',
        'net.ipv6.icmp.ratelimit=0',
        'net.netfilter.nf_conntrack_timestamp=1',
    ],
    'rtr': ['net.bridge.bridge-nf-call-iptables=0', 'net.bridge.bridge-nf-call-ip6tables=0'],
}


def up():
    for n in ALLNS:
        sh(f'ip netns add {ns(n)}')
        ip(n, 'link set lo up')
        [
            X(n, f'sysctl -qw {s}', ok=True)
            for s in SYSCTL['all'] + (SYSCTL['node'] if n in ('rtr', 'node1', 'node2') else [])
        ]
    [X('rtr', f'sysctl -qw {s}', ok=True) for s in SYSCTL['rtr']]
    # outside
    veth('rtr', 'cl0', 'client', 'eth0')
    ip('rtr', f"addr add {RTR['cl4']}/24 dev cl0")
    ip('rtr', f"addr add {RTR['cl6']}/64 dev cl0 nodad")
    for x in CLIENT['ip4']:
        ip('client', f'addr add {x}/24 dev eth0')
    for x in CLIENT['ip6']:
        ip('client', f'addr add {x}/64 dev eth0 nodad')
    ip('client', f"route add default via {RTR['cl4']}")
    ip('client', f"-6 route add default via {RTR['cl6']}")
    # node segment: a bridge in the router namespace
    ip('rtr', 'link add br0 type bridge stp_state 0')
    ip('rtr', 'link set br0 up')
    ip('rtr', f"addr add {RTR['node4']}/24 dev br0")
    ip('rtr', f"addr add {RTR['node6']}/64 dev br0 nodad")
    for n, d in NODES.items():
        veth('rtr', n, n, 'eth0')
        ip('rtr', f'link set {n} master br0')
        ip(n, f"addr add {d['ip4']}/24 dev eth0")
        ip(n, f"addr add {d['ip6']}/64 dev eth0 nodad")
        ip(n, f"route add default via {RTR['node4']}")
        ip(n, f"-6 route add default via {RTR['node6']}")
        ip('rtr', f"route add {d['pod4']}.0/24 via {d['ip4']}")
        ip('rtr', f"-6 route add {d['pod6']}:/64 via {d['ip6']}")
        # the pod range of this node that no pod owns: unreachable, so a stale endpoint gets a prompt error
        ip(n, f"route add unreachable {d['pod4']}.0/24")
        ip(n, f"-6 route add unreachable {d['pod6']}:/64")
    for vip, n in LBROUTE.items():
        ip('rtr', f"route add {vip}/32 via {NODES[n]['ip4']}")
    for c in (SVC4,):
        ip('rtr', f'route add unreachable {c}')
    ip('rtr', f'-6 route add unreachable {SVC6}')
    ip('rtr', f'route add {PMTU_CLIENT4}/32 dev cl0 mtu lock {PMTU}')
    for n, d in NODES.items():
        for m, e in NODES.items():
            if m == n:
                continue
            if OPTIONS.mode == 'native':
                ip(n, f"route add {e['pod4']}.0/24 via {e['ip4']}")
                ip(n, f"-6 route add {e['pod6']}:/64 via {e['ip6']}")
            else:  # flannel-like: unicast VXLAN, VNI 1, port 8472, static neighbours
                mac = lambda z: '0a:00:00:00:01:0' + z[-1]
                ip(n, f"link add flannel.1 type vxlan id 1 dev eth0 local {d['ip4']} dstport 8472 nolearning")
                ip(n, f'link set flannel.1 address {mac(n)} mtu 1450 up')
                offl(n, 'flannel.1')
                X(n, 'ethtool -K flannel.1 tx-checksum-ip-generic off', ok=True)
                ip(n, f"addr add {d['pod4']}.0/32 dev flannel.1")
                X(n, f"bridge fdb append {mac(m)} dev flannel.1 dst {e['ip4']}")
                ip(n, f"neigh add {e['pod4']}.0 lladdr {mac(m)} dev flannel.1 nud permanent")
                ip(n, f"route add {e['pod4']}.0/24 via {e['pod4']}.0 dev flannel.1 onlink")
                ip(n, f"-6 addr add {d['pod6']}:/128 dev flannel.1 nodad")
                ip(n, f"neigh add {e['pod6']}: lladdr {mac(m)} dev flannel.1 nud permanent")
                ip(n, f"-6 route add {e['pod6']}:/64 via {e['pod6']}: dev flannel.1 onlink")
    # pods: kindnet/ptp style, one veth each, the host end owns the gateway address
    for p, (n, o, _) in PODS.items():
        v = 'v-' + p
        d = NODES[n]
        veth(n, v, p, 'eth0')
        mtu = 1450 if OPTIONS.mode == 'vxlan' else 1500
        ip(n, f'link set {v} mtu {mtu}')
        ip(p, f'link set eth0 mtu {mtu}')
        ip(n, f"addr add {d['pod4']}.1/32 dev {v}")
        ip(n, f"addr add {d['pod6']}:1/128 dev {v} nodad")
        ip(n, f'route add {pod4(p)}/32 dev {v}')
        ip(n, f'-6 route add {pod6(p)}/128 dev {v}')
        ip(p, f'addr add {pod4(p)}/32 dev eth0')
        ip(p, f'addr add {pod6(p)}/128 dev eth0 nodad')
        ip(p, f"route add {d['pod4']}.1/32 dev eth0 scope link")
        ip(p, f"route add default via {d['pod4']}.1")
        ip(p, f"-6 route add {d['pod6']}:1/128 dev eth0")
        ip(p, f"-6 route add default via {d['pod6']}:1")
        X(n, f'sysctl -qw net.ipv4.conf.{v}.send_redirects=0', ok=True)
    rules(False)


def rules(v2):
    objs = objects(v2)
    t = {}
    for n in NODES:
        for fam in (4, 6):
            txt = text_for(objs, n, fam, v2)
            t[n, fam] = txt
            cmd = f"ip{'6' if fam == 6 else ''}tables-{OPTIONS.backend}-restore"
            if OPTIONS.trace:
                txt += '*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A PREROUTING -j TRACE\n-A OUTPUT -j TRACE\nCOMMIT\n'
            r = sp.run(['ip', 'netns', 'exec', ns(n), cmd], input=txt, text=True, capture_output=True)
            if r.returncode:
                sys.exit(f'{cmd} on {n}: {r.stderr}\n' + txt)
    return t


def text_for(objs, node, fam, v2):
    """The lab's own text, or that of a file in --rules (for the endpoint change of T22: in its folder v2)."""
    if not OPTIONS.rules:
        return generator.gen(objs, node, fam, OPTIONS.stat, OPTIONS.masq_random_fully)
    with open(os.path.join(OPTIONS.rules, 'v2' if v2 else '', f'{node}.v{fam}.rules')) as file:
        return file.read()
