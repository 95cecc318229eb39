"""Servers, captures, dumps and single cases: everything that runs inside the lab while it stands."""

import json, os, subprocess as sp, time
from network import *
from options import OPTIONS

HERE = os.path.dirname(os.path.abspath(__file__))
PY = '/usr/bin/python3'
BG = []


def bg(n, argv, out=None, err=None):
    p = sp.Popen(
        ['ip', 'netns', 'exec', ns(n)] + argv,
        stdout=open(out, 'wb') if out else sp.DEVNULL,
        stderr=open(err, 'wb') if err else sp.DEVNULL,
        stdin=sp.DEVNULL,
    )
    BG.append(p)
    return p


def servers():
    for p, (n, o, l) in PODS.items():
        if l == 'web':
            bg(p, [PY, f'{HERE}/servers.py', 'http', '8080', p])
        if l in ('web', 'udp'):
            bg(p, [PY, f'{HERE}/servers.py', 'udpecho', '9000', p])
        if l == 'dns':
            bg(
                p,
                [
                    'dnsmasq',
                    '-k',
                    '-C',
                    '/dev/null',
                    '--user=root',
                    '--no-hosts',
                    '--no-resolv',
                    '--port=53',
                    '--pid-file=',
                    '--edns-packet-max=4096',
                    '--max-ttl=30',
                    '--address=/web.default.svc.cluster.local/10.96.0.10',
                    '--address=/web.default.svc.cluster.local/fd00:10:96::10',
                    '--address=/sticky.default.svc.cluster.local/10.96.0.40',
                    '--local=/cluster.local/',
                ]
                + [
                    '--txt-record=big.cluster.local,'
                    + ','.join(['"' + chr(65 + i) * 200 + '"' for i in range(14)])
                ]
                + [f'--host-record={x}.pod.cluster.local,{pod4(x)},{pod6(x)}' for x in PODS],
            )
        if p == 'web-c':
            bg(p, ['iperf3', '-s', '-p', '5201'])
    bg('client', [PY, f'{HERE}/servers.py', 'http', '80', 'outside'])
    bg('client', [PY, f'{HERE}/servers.py', 'udpecho', '9000', 'outside'])
    time.sleep(1.2)


def captures(d):
    os.makedirs(d, exist_ok=True)
    pts = (
        [(n, 'any', f'{n}.any') for n in NODES]
        + [(n, 'eth0', f'{n}.eth0') for n in NODES]
        + [
            (PODS[p][0], 'v-' + p, f'{PODS[p][0]}.v-{p}')
            for p in ('cli-a', 'web-a', 'dns-a', 'cli-b', 'web-b', 'web-c')
        ]
        + [('cli-a', 'eth0', 'cli-a.eth0'), ('client', 'eth0', 'client.eth0')]
    )
    C = []
    for n, i, f in pts:
        C.append(
            (
                f,
                bg(
                    n,
                    [
                        'tcpdump',
                        '-i',
                        i,
                        '-s',
                        '0',
                        '-B',
                        '32768',
                        '--time-stamp-precision=nano',
                        '-Z',
                        'root',
                        '-w',
                        f'{d}/{f}.pcap',
                    ]
                    + (['-y', 'LINUX_SLL2'] if i == 'any' else []),
                    None,
                    f'{d}/{f}.log',
                ),
            )
        )
    for n in NODES:
        bg(
            n,
            ['conntrack', '-E', '-b', '33554432', '-o', 'timestamp,extended,id'],
            f'{d}/{n}.ct-events.txt',
            f'{d}/{n}.ct-events.err',
        )
        if OPTIONS.trace:
            bg(n, ['xtables-monitor', '--trace'], f'{d}/{n}.trace.txt')
    t = time.time()
    while time.time() - t < 15 and not all('listening on' in open(f'{d}/{f}.log').read() for f, _ in C):
        time.sleep(0.1)
    time.sleep(0.5)
    return C


def snap(d, tag):
    for n in NODES:
        o = f'{d}/{n}.{tag}'
        open(o + '.iptables', 'w').write(X(n, f'iptables-{OPTIONS.backend}-save -c'))
        open(o + '.ip6tables', 'w').write(X(n, f'ip6tables-{OPTIONS.backend}-save -c'))
        open(o + '.conntrack', 'w').write(
            X(n, 'conntrack -L -o extended,id,ktimestamp', ok=True)
            + X(n, 'conntrack -L -f ipv6 -o extended,id,ktimestamp', ok=True)
        )
        open(o + '.conntrack-stats', 'w').write(X(n, 'conntrack -S', ok=True))


def static(d):
    for n in ALLNS:
        json.dump(
            {
                k: json.loads(ip(n, c) or '[]')
                for k, c in dict(
                    link='-j -d link',
                    addr='-j addr',
                    route4='-j route show table all',
                    route6='-j -6 route show table all',
                    neigh='-j neigh',
                ).items()
            },
            open(f'{d}/{n}.net.json', 'w'),
        )
    for n in NODES:
        open(f'{d}/{n}.sysctl', 'w').write(X(n, 'sysctl -a', ok=True))
        open(f'{d}/{n}.ifmap.json', 'w').write(
            json.dumps({l['ifindex']: l['ifname'] for l in json.loads(ip(n, '-j link'))})
        )


EV = []


def case(id, n, desc, cmd, expect='', timeout=15):
    if (OPTIONS.only and id.split('.')[0] not in OPTIONS.only.split(',')) or id.split('.')[
        0
    ] in OPTIONS.skip.split(','):
        return
    t0 = time.time_ns()
    try:
        r = sp.run(
            ['ip', 'netns', 'exec', ns(n), 'bash', '-c', cmd], capture_output=True, text=True, timeout=timeout
        )
        rc, o = r.returncode, r.stdout + r.stderr
    except sp.TimeoutExpired as e:
        rc, o = 'timeout', str(e.stdout)
    t1 = time.time_ns()
    time.sleep(0.12)
    EV.append(
        dict(
            id=id,
            ns=n,
            desc=desc,
            cmd=cmd.replace(HERE + '/', ''),
            expect=expect,
            rc=rc,
            t0=t0,
            t1=t1,
            out=o[:1500],
        )
    )
    print(
        f'{id:6} {n:7} rc={rc} {(t1-t0)/1e9:5.2f}s {desc[:46]:46} | {" ".join(o.split())[:110]}', flush=True
    )


def mark(id, desc):
    EV.append(dict(id=id, desc=desc, t0=time.time_ns(), t1=time.time_ns()))
    print(id, desc)


CURL = 'curl -s -m 4 -o - '


def many(url, n, x=''):
    return f'for i in $(seq {n}); do {CURL} {x} {url} || echo "rc=$?"; done'
