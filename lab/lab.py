#!/usr/bin/python3
"""A small two-node Kubernetes-shaped cluster in network namespaces: kube-proxy-shaped iptables, real traffic,
captures.

  lab.py all --out DIR [options]    builds, sends, records, removes
  lab.py up | down | rules          one step only

Needs root. README.md has the options, the topology and the cases."""

import json, os, shutil, signal, time
import yaml
from cases import load, traffic
from network import down, rules, sh, up
from options import OPTIONS
from recorder import BG, EV, captures, servers, snap, static
from topology import objects


def main():
    if OPTIONS.cmd == 'down':
        return down()
    if OPTIONS.cmd == 'up':
        up()
        return
    if OPTIONS.cmd == 'rules':
        return print(rules(False)['node1', 4])
    d = OPTIONS.out
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d)
    down()
    try:
        up()
        servers()
        yaml.safe_dump_all(objects(), open(f'{d}/cluster.yaml', 'w'), sort_keys=False)
        yaml.safe_dump_all(objects(True), open(f'{d}/cluster-v2.yaml', 'w'), sort_keys=False)
        for (n, f), t in rules(False).items():
            open(f'{d}/{n}.v{f}.rules', 'w').write(t)
        static(d)
        snap(d, 'before')
        C = captures(d)
        if OPTIONS.load:
            load(OPTIONS.load)
        else:
            traffic()
        snap(d, 'after')
        time.sleep(2)  # a capture block that is not full is handed over after 1 s
        for f, p in C:
            p.send_signal(signal.SIGINT)
        for f, p in C:
            p.wait(10)
        json.dump(
            dict(
                args=vars(OPTIONS),
                uname=os.uname().release,
                iptables=sh('iptables -V').strip(),
                started=EV[0]['t0'],
            ),
            open(f'{d}/meta.json', 'w'),
            indent=1,
        )
        open(f'{d}/events.jsonl', 'w').write(''.join(json.dumps(e) + '\n' for e in EV))
        for f, p in C:
            l = open(f'{d}/{f}.log').read()
            print(f, ' '.join(x for x in l.split('\n') if 'packets' in x), os.path.getsize(f'{d}/{f}.pcap'))
    finally:
        for p in BG:
            if p.poll() is None:
                p.terminate()
        for p in BG:
            try:
                p.wait(3)
            except Exception:
                p.kill()
        down()


main()
