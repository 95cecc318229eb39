"""show.py DIR NODE CASE [MAX] -- prints the before/after records of one case."""

import sys, json

D, N, C = sys.argv[1:4]
lim = int(sys.argv[4]) if len(sys.argv) > 4 else 60
rows = [json.loads(l) for l in open(f'{D}/{N}.pairs.jsonl')]
rows = [r for r in rows if r['case'] == C]
t0 = rows[0]['t_in'] if rows else 0
for r in rows[:lim]:
    print(
        f"{(r['t_in']-t0)/1e6:9.3f}ms {r['nat']:9} {r.get('if_in','-'):>8} {r.get('before',''):70} -> {r.get('if_out','-'):>8} {r.get('after','')}  len={r['len']} ttl={r['ttl']} ck={r['csum']}"
    )
