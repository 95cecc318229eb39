#!/usr/bin/python3
"""pairs.py DIR  -- turns <node>.any.pcap (LINUX_SLL2: interface + direction for each packet) into before/after records.
For each forwarded packet: the record seen entering (pkttype 0-3) and the one seen leaving (4), matched on fields NAT does not touch.
Writes <node>.pairs.jsonl and summary.json / summary.txt (per test case)."""

import sys, os, json, struct, socket, hashlib, collections

D = sys.argv[1]
NODES = ['node1', 'node2']


def pcap(f):
    b = open(f, 'rb').read()
    m = b[:4]
    e = '<' if m in (b'\xd4\xc3\xb2\xa1', b'\x4d\x3c\xb2\xa1') else '>'
    ns = m in (b'\x4d\x3c\xb2\xa1', b'\xa1\xb2\x3c\x4d')
    lt = struct.unpack(e + 'I', b[20:24])[0]
    o = 24
    i = 0
    while o + 16 <= len(b):
        s, u, c, l = struct.unpack_from(e + 'IIII', b, o)
        o += 16
        i += 1
        yield i, s * 10**9 + (u if ns else u * 1000), b[o : o + c], l
        o += c


def csum(b):
    if len(b) & 1:
        b += b'\0'
    s = sum(struct.unpack('!%dH' % (len(b) // 2), b))
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return s


def hx(b):
    return hashlib.blake2b(b, digest_size=8).hexdigest()


def l4(proto, p, frag):
    """-> (ports or (), invariant, flags text)"""
    if frag:
        return (), ('frag', hx(p)), ''
    if proto == 6 and len(p) >= 20:
        sp, dp, sq, ak, off, fl, w = struct.unpack('!HHIIBBH', p[:16])
        return (
            (sp, dp),
            (sq, ak, fl, w, p[12:13], hx(p[20:])),
            ''.join(c for i, c in enumerate('FSRPAUEC') if fl >> i & 1),
        )
    if proto in (17, 136) and len(p) >= 8:
        return struct.unpack('!HH', p[:4]), (struct.unpack('!H', p[4:6])[0], hx(p[8:])), ''
    if proto == 132 and len(p) >= 12:
        return struct.unpack('!HH', p[:4]), (p[4:8].hex(), hx(p[12:])), ''
    if proto in (1, 58) and len(p) >= 8:
        t, c = p[0], p[1]
        if (proto == 1 and t in (3, 4, 5, 11, 12)) or (proto == 58 and t < 128):
            q = p[8:]
            if q[:1] and q[0] >> 4 == 4 and len(q) >= 28:
                ih = (q[0] & 15) * 4
                inner = (q[9], q[4:6].hex(), q[ih + 4 : ih + 8].hex() if q[9] == 6 else '')
            elif len(q) >= 48:
                inner = (q[6], q[44:48].hex() if q[6] == 6 else q[44:46].hex())
            else:
                inner = ()
            return (), ('err', t, c, inner, len(p)), f'type{t}/{c}'
        return (
            (struct.unpack('!H', p[4:6])[0],) if t in (0, 8, 128, 129) else (),
            (t, c, p[6:8].hex(), hx(p[8:])),
            f'type{t}/{c}',
        )
    return (), (hx(p),), ''


def parse(ethertype, b):
    if ethertype == 0x800 and len(b) >= 20 and b[0] >> 4 == 4:
        ih = (b[0] & 15) * 4
        tl = struct.unpack('!H', b[2:4])[0]
        if ih < 20 or tl < ih or tl > len(b) or ih > len(b):
            return None
        fo = struct.unpack('!H', b[6:8])[0]
        frag = (fo & 0x1FFF) > 0
        mf = bool(fo & 0x2000)
        p = b[ih:tl]
        pr = b[9]
        ports, inv, fl = l4(pr, p, frag)
        s, d = socket.inet_ntoa(b[12:16]), socket.inet_ntoa(b[16:20])
        ok = csum(b[:ih]) == 0xFFFF
        l4ok = None
        if not frag and not mf and pr in (6, 17) and len(p) >= 8:
            if pr == 17 and p[6:8] == b'\0\0':
                l4ok = 'zero'
            else:
                l4ok = csum(b[12:20] + struct.pack('!BBH', 0, pr, len(p)) + p) == 0xFFFF
        return dict(
            v=4,
            pr=pr,
            s=s,
            d=d,
            ports=ports,
            fl=fl,
            ttl=b[8],
            frag=(fo & 0x1FFF) * 8 if (frag or mf) else None,
            len=tl,
            ipok=ok,
            l4ok=l4ok,
            df=bool(fo & 0x4000),
            id=struct.unpack('!H', b[4:6])[0],
            key=(4, pr, b[4:6], fo & 0x3FFF, inv),
            raw=b,
        )
    if ethertype == 0x86DD and len(b) >= 40 and b[0] >> 4 == 6:
        nx, o, fr, fo = b[6], 40, None, 0
        pl = struct.unpack('!H', b[4:6])[0]
        if 40 + pl > len(b):
            return None
        end = 40 + pl
        while nx in (0, 43, 44, 60) and o + 8 <= end:
            if nx == 44:
                fo = struct.unpack('!H', b[o + 2 : o + 4])[0]
                fr = b[o + 4 : o + 8]
                nx, o = b[o], o + 8
            else:
                nx, o = b[o], o + 8 + b[o + 1] * 8
        p = b[o:end]
        ports, inv, fl = l4(nx, p, bool(fo & 0xFFF8))
        l4ok = None
        if fr is None and nx in (6, 17, 58):
            l4ok = csum(b[8:40] + struct.pack('!IHBB', len(p), 0, 0, nx) + p) == 0xFFFF
        return dict(
            v=6,
            pr=nx,
            s=socket.inet_ntop(10, b[8:24]),
            d=socket.inet_ntop(10, b[24:40]),
            ports=ports,
            fl=fl,
            ttl=b[7],
            frag=(fo & 0xFFF8) if fr else None,
            len=end,
            ipok=True,
            l4ok=l4ok,
            df=None,
            id=None,
            key=(6, nx, fr is not None, fo, inv),
            raw=b,
        )


PN = {
    1: 'icmp',
    6: 'tcp',
    17: 'udp',
    58: 'icmp6',
    132: 'sctp',
    136: 'udplite',
    47: 'gre',
    50: 'esp',
    33: 'dccp',
}


def ep(a, p):
    return a if p is None else (f'[{a}]:{p}' if ':' in a else f'{a}:{p}')


def txt(x):
    P = x['ports']
    s, d = (P[0], P[1]) if len(P) == 2 else (None, None)
    return (
        f"{PN.get(x['pr'], x['pr'])} {ep(x['s'], s)} > {ep(x['d'], d)}"
        + (f" id{P[0]}" if len(P) == 1 else '')
        + (f" {x['fl']}" if x['fl'] else '')
        + (f" frag@{x['frag']}" if x['frag'] is not None else '')
    )


def xlat(i, o):
    r = []
    P, Q = i['ports'], o['ports']
    if i['d'] != o['d'] or (len(P) == 2 and P[1] != Q[1]):
        r.append('dst')
    if i['s'] != o['s'] or (len(P) == 2 and P[0] != Q[0]):
        r.append('src')
    if len(P) == 1 and P != Q:
        r.append('id')
    return '+'.join(r) or 'none'


ev = [json.loads(l) for l in open(D + '/events.jsonl')]
cases = [e for e in ev if 'rc' in e]


def case_of(t):
    for e in cases:
        if e['t0'] <= t <= e['t1'] + 110_000_000:
            return e['id']
    for e in ev:
        if e['id'] == 'T22' and e['t0'] <= t <= e['t1']:
            return 'T22'
    return '-'


S = {}
table = collections.defaultdict(lambda: collections.Counter())
bad = {}
for n in NODES:
    ifm = json.load(open(f'{D}/{n}.ifmap.json'))
    recs = []
    st = collections.Counter()
    for i, t, b, wl in pcap(f'{D}/{n}.any.pcap'):
        et, _, ifx, hrd, pt, al = struct.unpack('!HHIHBB', b[:12])
        st['records'] += 1
        x = parse(et, b[20:])
        recs.append((t, i, ifm.get(str(ifx), str(ifx)), pt, et, x))
    recs.sort(key=lambda r: (r[0], r[1]))
    pend = collections.defaultdict(collections.deque)
    out = []
    usedin = set()
    matched = {}
    for k, (t, i, ifn, pt, et, x) in enumerate(recs):
        if ifn == 'lo' or x is None:
            st['lo' if ifn == 'lo' else 'not-ip-or-broken'] += 1
            continue
        if x['l4ok'] is False:
            st['l4 checksum wrong as captured'] += 1
        if not x['ipok']:
            st['ip checksum wrong as captured'] += 1
        if x['pr'] == 17 and 8472 in x['ports']:
            st['vxlan outer'] += 1
            continue
        if pt != 4:
            pend[x['key']].append(k)
            continue
        q = pend.get(x['key'])
        j = None
        while q and t - recs[q[0]][0] > 3_000_000_000:
            q.popleft()
        if q:
            j = q.popleft()
            ti, ii, ifi, pti, _, y = recs[j]
            kind = xlat(y, x)
            st['forwarded'] += 1
            st['nat:' + kind] += 1
            usedin.add(j)
            out.append(
                dict(
                    case=case_of(ti),
                    n_in=ii,
                    n_out=i,
                    t_in=ti,
                    dt_ns=t - ti,
                    if_in=ifi,
                    if_out=ifn,
                    before=txt(y),
                    after=txt(x),
                    nat=kind,
                    ttl=[y['ttl'], x['ttl']],
                    len=[y['len'], x['len']],
                    csum=[y['l4ok'], x['l4ok']],
                )
            )
            table[case_of(ti)][f'{n} fwd nat={kind}'] += 1
        else:
            st['sent without an incoming record (local or rebuilt)'] += 1
            out.append(
                dict(
                    case=case_of(t),
                    n_out=i,
                    t_in=t,
                    if_out=ifn,
                    after=txt(x),
                    nat='local-out',
                    ttl=x['ttl'],
                    len=x['len'],
                    csum=x['l4ok'],
                )
            )
            table[case_of(t)][f'{n} local-out'] += 1
    for k, (t, i, ifn, pt, et, x) in enumerate(recs):
        if x is None or ifn == 'lo' or pt == 4 or k in usedin or (x['pr'] == 17 and 8472 in x['ports']):
            continue
        kind = 'otherhost' if pt == 3 else 'in-only'
        st[kind] += 1
        out.append(
            dict(
                case=case_of(t),
                n_in=i,
                t_in=t,
                if_in=ifn,
                before=txt(x),
                nat=kind,
                ttl=x['ttl'],
                len=x['len'],
                csum=x['l4ok'],
                ipok=x['ipok'],
            )
        )
        table[case_of(t)][f'{n} {kind}'] += 1
    out.sort(key=lambda r: r['t_in'])
    open(f'{D}/{n}.pairs.jsonl', 'w').write(''.join(json.dumps(r) + '\n' for r in out))
    S[n] = dict(st)
json.dump(S, open(D + '/summary.json', 'w'), indent=1)
o = json.dumps(S, indent=1) + '\n'
for c in sorted(table):
    o += f'{c:12} ' + '; '.join(f'{k}={v}' for k, v in sorted(table[c].items())) + '\n'
open(D + '/summary.txt', 'w').write(o)
print(o)
