#!/usr/bin/python3
"""slices.py DIR OUT -- cuts a lab run into one small folder per case: {node1,node2}.any.pcap, pairs, conntrack
events, the case record."""

import sys, os, json, struct

D, O = sys.argv[1:3]
ev = [json.loads(l) for l in open(D + '/events.jsonl')]


def recs(f):
    b = open(f, 'rb').read()
    o = 24
    R = []
    while o + 16 <= len(b):
        s, u, c, l = struct.unpack_from('<IIII', b, o)
        R.append((s * 10**9 + u, b[o : o + 16 + c]))
        o += 16 + c
    return b[:24], R


A = {n: recs(f'{D}/{n}.any.pcap') for n in ('node1', 'node2')}
Pp = {n: [json.loads(l) for l in open(f'{D}/{n}.pairs.jsonl')] for n in A}
CT = {
    n: [(float(l.split(']')[0][1:]), l) for l in open(f'{D}/{n}.ct-events.txt') if l.startswith('[1')]
    for n in A
}
tot = 0
idx = []
for e in ev:
    if 'rc' not in e and e['id'] != 'T22':
        continue
    t0, t1 = e['t0'] - 5_000_000, e['t1'] + 110_000_000
    d = f"{O}/{e['id']}"
    n = sum(sum(t0 <= t <= t1 for t, _ in A[k][1]) for k in A)
    if n == 0 or n > 2500:
        idx.append((e['id'], n, 'skipped'))
        continue
    os.makedirs(d, exist_ok=True)
    json.dump(e, open(d + '/case.json', 'w'), indent=1)
    for k in A:
        h, R = A[k]
        open(f'{d}/{k}.any.pcap', 'wb').write(h + b''.join(r for t, r in R if t0 <= t <= t1))
        pr = [p for p in Pp[k] if t0 <= p['t_in'] <= t1]
        # record numbers restart in the slice
        base = {i + 1: j + 1 for j, i in enumerate(i for i, (t, _) in enumerate(A[k][1]) if t0 <= t <= t1)}
        for p in pr:
            for q in ('n_in', 'n_out'):
                if q in p:
                    p[q] = base.get(p[q])
        open(f'{d}/{k}.pairs.jsonl', 'w').write(''.join(json.dumps(p) + '\n' for p in pr))
        open(f'{d}/{k}.ct-events.txt', 'w').write(''.join(l for t, l in CT[k] if t0 / 1e9 <= t <= t1 / 1e9))
    tot += sum(os.path.getsize(d + '/' + f) for f in os.listdir(d))
    idx.append((e['id'], n, 'ok'))
for f in (
    'cluster.yaml',
    'cluster-v2.yaml',
    'node1.v4.rules',
    'node2.v4.rules',
    'node1.v6.rules',
    'node2.v6.rules',
    'node1.ifmap.json',
    'node2.ifmap.json',
    'meta.json',
    'node1.net.json',
    'node2.net.json',
):
    open(f'{O}/{f}', 'w').write(open(f'{D}/{f}').read())
print(len(idx), tot / 1e6, 'MB', [i for i in idx if i[2] != 'ok'])
