#!/usr/bin/python3
"""check_conntrack.py DIR -- checks every before/after pair (from the captures) against the conntrack event log (from netlink): two independent outputs of the same kernel."""

import sys, json, re, collections, bisect

D = sys.argv[1]
for n in ('node1', 'node2'):
    hist = collections.defaultdict(list)  # (proto, s,sp,d,dp) -> [(t0, t1, after)]
    live = {}
    for l in open(f'{D}/{n}.ct-events.txt'):
        m = re.match(r'\[(\d+\.\d+)\]\s+\[(\w+)\]\s+(\w+)\s+\d+\s+(\w+)', l)
        if not m:
            continue
        t, evt, fam, pr = float(m[1]) * 1e9, m[2], m[3], m[4]
        a = re.findall(r'src=(\S+) dst=(\S+)(?: sport=(\d+) dport=(\d+))?', l)
        if len(a) < 2 or not a[0][2]:
            continue
        o, r = [(x[0], int(x[2]), x[1], int(x[3])) for x in a[:2]]
        k = (pr, o)
        if evt == 'NEW':
            live[k] = [t, r]
            hist[(pr,) + o].append([t, 9e18, (r[2], r[3], r[0], r[1])])
            hist[(pr,) + r].append([t, 9e18, (o[2], o[3], o[0], o[1])])
        if evt == 'DESTROY':
            for q in (o, r):
                for h in hist[(pr,) + q][::-1]:
                    if h[1] == 9e18:
                        h[1] = t
                        break
    for l in open(
        f'{D}/{n}.after.conntrack'
    ):  # events are lost under load (ENOBUFS); the table at the end still has the entry (TIME_WAIT, 120 s)
        m = re.match(r'(\w+)\s+\d+\s+(\w+)', l)
        a = re.findall(r'src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)', l)
        if m and len(a) == 2:
            o, r = [(x[0], int(x[2]), x[1], int(x[3])) for x in a]
            if not hist.get((m[2],) + o):
                hist[(m[2],) + o].append([0, 9e18, (r[2], r[3], r[0], r[1])])
                hist[(m[2],) + r].append([0, 9e18, (o[2], o[3], o[0], o[1])])
    c = collections.Counter()
    bad = []
    P = re.compile(r'^(tcp|udp|sctp) (\S+):(\d+) > (\S+):(\d+)')
    for l in open(f'{D}/{n}.pairs.jsonl'):
        r = json.loads(l)
        if 'before' not in r or 'after' not in r:
            continue
        b, a = P.match(r['before']), P.match(r['after'])
        if not b or not a or (' frag@' in r['before'] and not r['before'].endswith('frag@0')):
            c['skipped (icmp, fragment, other)'] += 1
            continue
        f = lambda g: (g[2].strip('[]'), int(g[3]), g[4].strip('[]'), int(g[5]))
        k = (b[1],) + f(b)
        want = [
            h[2] for h in hist.get(k, ()) if h[0] - 3e9 <= r['t_in'] + r['dt_ns'] and r['t_in'] - 3e6 <= h[1]
        ]
        if not want:
            c['no entry in the log'] += 1
            bad.append(('noentry', r['case'], r['before'], r['after']))
            continue
        if f(a) in want:
            c['agree'] += 1
        else:
            c['DISAGREE'] += 1
            bad.append(('dis', r['case'], r['before'], r['after'], want))
    print(D, n, dict(c))
    [print('   ', x) for x in bad[:6]]
