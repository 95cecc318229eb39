"""The traffic of the lab: cases T01 to T33, and T40 for load. README.md says what each is expected to show."""

import json, subprocess as sp, time
from network import *
from options import OPTIONS
from recorder import *


def traffic():
    c, n1, n2 = case, NODES['node1']['ip4'], NODES['node2']['ip4']
    PYC = f'{PY} {HERE}/clients.py'
    RAW = f'{PY} {HERE}/crafted.py'
    c('T01', 'cli-a', 'pod -> ClusterIP', many('http://10.96.0.10/', 6), 'DNAT only')
    c('T02', 'cli-b', 'pod on node2 -> ClusterIP', many('http://10.96.0.10/', 6), 'DNAT only')
    c(
        'T03',
        'node1',
        'host -> ClusterIP (OUTPUT)',
        many('http://10.96.0.10/', 6),
        'DNAT+SNAT (host address is not in the pod range)',
    )
    c(
        'T04',
        'web-a',
        'pod that is an endpoint -> its own ClusterIP (hairpin)',
        many('http://10.96.0.10/', 6),
        'DNAT, and SNAT to the gateway address when it picks itself',
    )
    c(
        'T05',
        'cli-a',
        'DNS over UDP',
        'for q in "A web.default.svc.cluster.local" "AAAA web.default.svc.cluster.local" "A nope.cluster.local" "A udp-b.pod.cluster.local"; do dig +short +tries=1 +time=2 @10.96.0.53 -t $q; done',
        'DNAT',
    )
    c(
        'T06',
        'cli-a',
        'DNS: truncated, TCP retry, and 4096-byte EDNS',
        'dig +tries=1 +time=2 +noedns @10.96.0.53 TXT big.cluster.local | grep -E "flags|SIZE|truncated"; dig +tries=1 +time=2 +bufsize=4096 @10.96.0.53 TXT big.cluster.local | grep -E "SIZE"; dig +tcp +short @10.96.0.53 A web-a.pod.cluster.local',
        'fragmented UDP answer',
    )
    for i, n in ((1, n1), (2, n2)):
        c(
            f'T07.{i}',
            'client',
            f'outside -> NodePort, Cluster policy, node{i}',
            many(f'http://{n}:30080/', 6),
            'DNAT+SNAT to the node',
        )
    c(
        'T08.1',
        'client',
        'outside -> NodePort, Local policy, node with endpoints',
        many(f'http://{n2}:30081/', 4),
        'DNAT only, client address kept',
    )
    c(
        'T08.2',
        'client',
        'outside -> NodePort, Local policy, node without endpoints',
        f'curl -s -m 2 http://{n1}:30081/',
        'DROP',
    )
    c(
        'T08.3',
        'client',
        'health check node port (no listener)',
        f'curl -s -m 2 http://{n2}:32081/healthz',
        'RST from the node',
    )
    c(
        'T08.4',
        'cli-a',
        'pod -> NodePort of Local service on node without endpoints',
        many(f'http://{n1}:30081/', 3),
        'pod traffic short cut: cluster-wide endpoints',
    )
    c(
        'T08.5',
        'node1',
        'host -> NodePort of Local service on itself, no local endpoints',
        many(f'http://{n1}:30081/', 3),
        'LOCAL traffic: masquerade, cluster-wide endpoints',
    )
    c(
        'T09',
        'client',
        'outside -> LoadBalancer IP, Cluster policy',
        many('http://198.51.100.10/', 4),
        'DNAT+SNAT',
    )
    c(
        'T10',
        'client',
        'outside -> LoadBalancer IP, Local policy',
        many('http://198.51.100.11/', 4),
        'DNAT only',
    )
    c(
        'T11.1',
        'client',
        'LoadBalancer with source ranges, allowed',
        many('http://198.51.100.12/', 3, '--interface 203.0.113.10'),
        'DNAT+SNAT',
    )
    c(
        'T11.2',
        'client',
        'LoadBalancer with source ranges, refused',
        'curl -s -m 2 --interface 203.0.113.20 http://198.51.100.12/',
        'DROP in KUBE-PROXY-FIREWALL',
    )
    c(
        'T11.3',
        'client',
        'its NodePort is not source-limited',
        many(f'http://{n2}:30083/', 2, '--interface 203.0.113.20'),
        'DNAT+SNAT',
    )
    c('T12.1', 'cli-a', 'session affinity', many('http://10.96.0.40/', 6), 'one endpoint')
    c('T12.2', 'cli-b', 'session affinity', many('http://10.96.0.40/', 6), 'one endpoint')
    c('T12.3', 'node1', 'session affinity from host', many('http://10.96.0.40/', 6), 'one endpoint')
    c('T13.1', 'cli-a', 'no endpoints, TCP', 'curl -s -S -m 3 http://10.96.0.70/', 'ICMP port unreachable')
    c('T13.2', 'cli-a', 'no endpoints, UDP', f'{PYC} udp 10.96.0.70 80 20 2', 'ICMP port unreachable')
    c(
        'T13.3',
        'node1',
        'no endpoints, from host',
        'curl -s -S -m 3 http://10.96.0.70/',
        'ICMP port unreachable, OUTPUT',
    )
    c(
        'T13.4',
        'client',
        'no endpoints, NodePort',
        f'curl -s -S -m 3 http://{n1}:30099/',
        'ICMP port unreachable',
    )
    c('T14.1', 'cli-a', 'target port closed, TCP', 'curl -s -S -m 3 http://10.96.0.60/', 'RST through NAT')
    c(
        'T14.2',
        'cli-a',
        'target port closed, UDP',
        f'{PYC} udp 10.96.0.60 81 20 2',
        'ICMP from the pod, inner header un-NATed',
    )
    c(
        'T15.1',
        'cli-a',
        'UDP echo, ClusterIP, one socket',
        f'{PYC} udp 10.96.0.50 9000 64 5',
        'DNAT, one endpoint per socket',
    )
    c(
        'T15.2',
        'cli-a',
        'UDP echo, new sockets',
        f'for i in 1 2 3 4; do {PYC} udp 10.96.0.50 9000 64 1; done',
        'DNAT',
    )
    c(
        'T15.3',
        'client',
        'UDP echo, NodePort',
        f'{PYC} udp {n1} 30090 64 3; {PYC} udp {n2} 30090 64 3',
        'DNAT+SNAT',
    )
    c(
        'T16.1',
        'cli-a',
        'UDP fragments, ClusterIP',
        f'{PYC} udp 10.96.0.50 9000 4000 4',
        'reassembled, NATed, fragmented again',
    )
    c('T16.2', 'client', 'UDP fragments, NodePort', f'{PYC} udp {n1} 30090 4000 3', 'same, with SNAT')
    c(
        'T17',
        'client',
        'PMTU: big answer towards the 1400-byte client',
        many(f'http://{n1}:30080/big', 2, '--interface 203.0.113.20') + ' | md5sum',
        'ICMP frag needed reaches the pod un-NATed',
    )
    c(
        'T18',
        'cli-a',
        'TTL 0/1/2 to ClusterIP',
        f'{RAW} ttl1 10.96.0.10 {pod4("cli-a")}',
        'time exceeded with the original inner header',
    )
    c(
        'T19',
        'cli-a',
        'ping pod, node, outside, ClusterIP',
        f'ping -c2 -i .2 -W1 {pod4("web-b")} | tail -2; ping -c2 -i .2 -W1 {n2} | tail -2; ping -c2 -i .2 -W1 203.0.113.10 | tail -2; ping -c1 -W1 10.96.0.10 | tail -3',
        'ClusterIP ping is not a service packet',
    )
    c(
        'T20',
        'cli-a',
        'client resets in mid transfer',
        f'{PYC} rst 10.96.0.10 80; {PYC} rst 10.96.0.10 80',
        'RST through NAT',
    )
    if not OPTIONS.only or 'T21' in OPTIONS.only.split(','):
        X(
            'rtr',
            'nft add table bridge loss; ip netns exec %s nft add chain bridge loss f "{ type filter hook forward priority 0; }"; ip netns exec %s nft add rule bridge loss f ip protocol tcp ip length gt 200 numgen inc mod 9 == 0 counter drop'
            % (ns('rtr'), ns('rtr')),
        )
        c(
            'T21',
            'cli-a',
            'loss between nodes: every 9th big TCP packet',
            many('http://10.96.0.30/big', 2)
            + ' | wc -c; '
            + many(f'http://{pod4("web-b")}:8080/big', 1)
            + ' | wc -c',
            'retransmissions',
            timeout=40,
        )
        X('rtr', 'nft delete table bridge loss')
    if not OPTIONS.only or 'T22' in OPTIONS.only.split(','):
        L = [
            sp.Popen(
                [
                    'ip',
                    'netns',
                    'exec',
                    ns('cli-a'),
                    'curl',
                    '-s',
                    '-m',
                    '20',
                    'http://10.96.0.120/slow?n=25',
                ],
                stdout=sp.PIPE,
            )
            for _ in range(2)
        ]
        U = sp.Popen(
            [
                'ip',
                'netns',
                'exec',
                ns('cli-a'),
                PY,
                f'{HERE}/clients.py',
                'udphold',
                '10.96.0.120',
                '9000',
                '22000',
                '7',
            ],
            stdout=sp.PIPE,
        )
        U2 = sp.Popen(
            [
                'ip',
                'netns',
                'exec',
                ns('cli-a'),
                PY,
                f'{HERE}/clients.py',
                'udphold',
                '10.96.0.120',
                '9000',
                '22001',
                '7',
            ],
            stdout=sp.PIPE,
        )
        t0 = time.time_ns()
        time.sleep(1.5)
        c('T22.1', 'cli-a', 'before the change', many('http://10.96.0.120/', 4), 'both endpoints')
        mark('T22.2', 'rules v2: web-a leaves churn')
        rules(True)
        mark('T22.3', 'rules v2 in place')
        c(
            'T22.4',
            'cli-a',
            'after the change, old flows still run',
            many('http://10.96.0.120/', 4),
            'web-b only; established flows keep web-a',
        )
        time.sleep(1)
        mark('T22.5', 'kube-proxy would now delete UDP entries: conntrack -D')
        [
            X(n, f'conntrack -D -p udp --orig-dst 10.96.0.120 --dst-nat {pod4("web-a")}', ok=True)
            for n in NODES
        ]
        mark('T22.6', 'deleted')
        o = [p.communicate()[0].decode().split() for p in L] + [p.communicate()[0].decode() for p in (U, U2)]
        EV.append(
            dict(
                id='T22',
                ns='cli-a',
                desc='long flows across an endpoint change',
                t0=t0,
                t1=time.time_ns(),
                out=str([(x[0], len(x) // 2) for x in o[:2] if x] + o[2:]),
            )
        )
        print('T22', EV[-1]['out'])
        rules(False)
        mark('T22.7', 'rules v1 again')
    c(
        'T23',
        'client',
        'same source port from two addresses to one NodePort',
        f'{PYC} clash {n1} 30083 21000 203.0.113.10 203.0.113.20',
        'the second gets another SNAT port',
    )
    c('T24.1', 'cli-a', 'many concurrent flows', f'{PYC} tcpn 10.96.0.10 80 300 150', timeout=60)
    c('T24.2', 'client', 'many concurrent flows, NodePort', f'{PYC} tcpn {n1} 30080 300 150', timeout=60)
    c(
        'T25.1',
        'cli-a',
        'iperf3 TCP, 10 Mbit/s, 1 s',
        'iperf3 -c 10.96.0.110 -p 5201 -t 1 -b 10M | tail -4 | head -2',
        timeout=20,
    )
    c(
        'T25.2',
        'cli-a',
        'iperf3 UDP, 5 Mbit/s, 1 s',
        'iperf3 -u -c 10.96.0.110 -p 5201 -t 1 -b 5M -l 1200 | tail -4 | head -2',
        timeout=20,
    )
    for i, (k, t) in enumerate(
        (
            ('tcpflags', '10.96.0.10'),
            ('badsum', '10.96.0.10'),
            ('ipopts', '10.96.0.10'),
            ('udp0sum', '10.96.0.50'),
            ('frags', '10.96.0.50'),
            ('icmp', '10.96.0.10'),
            ('sctp', '10.96.0.90'),
            ('otherproto', '10.96.0.50'),
            ('l2', '10.96.0.10'),
            ('trunc', '10.96.0.10'),
        )
    ):
        c(f'T26.{k}', 'cli-a', f'crafted: {k}', f'{RAW} {k} {t} {pod4("cli-a")}; sleep .3', timeout=20)
    c('T28.1', 'cli-a', 'IPv6 ClusterIP', many("'http://[fd00:10:96::10]/'", 4), 'DNAT')
    c('T28.2', 'client', 'IPv6 pod direct', many(f"'http://[{pod6('web-b')}]:8080/'", 1))
    c(
        'T28.3',
        'client',
        'IPv6 UDP NodePort',
        f'{PYC} udp {NODES["node1"]["ip6"]} 30090 64 2; {PYC} udp {NODES["node2"]["ip6"]} 30090 3000 2',
        'DNAT+SNAT, fragments',
    )
    c(
        'T28.4',
        'cli-a',
        'IPv6 DNS, no endpoints, ping',
        'dig +short @fd00:10:96::53 AAAA web.default.svc.cluster.local; curl -s -S -m 2 "http://[fd00:10:96::70]/"; ping -6 -c2 -i .2 2001:db8:c::10 | tail -2',
    )
    c('T28.5', 'web-b', 'IPv6 hairpin', many("'http://[fd00:10:96::10]/'", 6))
    c('T29.1', 'cli-a', 'pod -> NodePort of its own node', many(f'http://{n1}:30080/', 3), 'DNAT+SNAT')
    c(
        'T29.2',
        'cli-a',
        'pod -> LoadBalancer IP',
        many('http://198.51.100.10/', 3) + ';' + many('http://198.51.100.11/', 2),
        'taken on the node',
    )
    c('T29.3', 'cli-a', 'pod -> external IP', many('http://198.51.100.13/', 3), 'taken on the node')
    c('T29.4', 'client', 'outside -> external IP', many('http://198.51.100.13/', 3), 'DNAT+SNAT')
    c(
        'T30.1',
        'cli-a',
        'internalTrafficPolicy Local, no local endpoint',
        'curl -s -m 2 http://10.96.0.100/',
        'DROP',
    )
    c('T30.2', 'cli-b', 'internalTrafficPolicy Local, local endpoint', many('http://10.96.0.100/', 2), 'DNAT')
    c(
        'T31',
        'cli-a',
        'pod -> outside',
        many('http://203.0.113.10/', 2) + f'; {PYC} udp 203.0.113.10 9000 64 2',
        'CNI masquerade',
    )
    c(
        'T32.1',
        'cli-a',
        'same 5-tuple again, server closes',
        f'{PYC} samepair 10.96.0.10 80 20000 6',
        'a SYN on a TIME_WAIT entry makes a new entry: endpoint chosen again',
    )
    c(
        'T32.2',
        'client',
        'same 5-tuple again, NodePort',
        f'{PYC} samepair {n1} 30080 20000 6 203.0.113.10',
        'same',
    )
    c(
        'T33',
        'node1',
        'host -> pod, host -> own NodePort, host -> LB IP',
        many(f'http://{pod4("web-b")}:8080/', 1)
        + ';'
        + many(f'http://{n1}:30080/', 3)
        + ';'
        + many('http://198.51.100.10/', 2),
    )


def load(n):
    # T40: n connections from each of three places at once, 300 open at a time, with a DNS query stream beside them
    t0 = time.time_ns()
    J = []
    for ns_, url in (
        ('cli-a', '10.96.0.10 80'),
        ('cli-b', '10.96.0.30 80'),
        ('client', NODES['node1']['ip4'] + ' 30080'),
        ('client', NODES['node2']['ip4'] + ' 30080'),
    ):
        J.append(
            sp.Popen(
                [
                    'ip',
                    'netns',
                    'exec',
                    ns(ns_),
                    PY,
                    f'{HERE}/clients.py',
                    'tcpn',
                    *url.split(),
                    str(n),
                    '300',
                ],
                stdout=sp.PIPE,
                text=True,
            )
        )
    D = sp.Popen(
        [
            'ip',
            'netns',
            'exec',
            ns('cli-a'),
            'bash',
            '-c',
            f'for i in $(seq {n // 20}); do dig +short +tries=1 @10.96.0.53 web.default.svc.cluster.local A web.default.svc.cluster.local AAAA >/dev/null; done',
        ]
    )
    o = [j.communicate()[0].strip() for j in J]
    D.wait()
    EV.append(
        dict(
            id='T40', ns='cli-a,cli-b,client', desc='load', t0=t0, t1=time.time_ns(), rc=0, out=' | '.join(o)
        )
    )
    print('T40', (time.time_ns() - t0) / 1e9, 's', o)
