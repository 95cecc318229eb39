#!/usr/bin/python3
"""stories.py OUT [STORY …] [--mode=vxlan …] -- records each story in a lab of its own, so that nothing happened
before it.

OUT/<story>/ gets the captures of both nodes, the conntrack events and case.jsonl; OUT/ itself gets what is the same
in every run: the objects, the rules and the node facts. story.md is written by hand and left alone. Needs root."""

import json, os, re, shutil, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
STORIES = {
    'clusterip-tcp': 'T01,T02',
    'hairpin': 'T04',
    'dns-udp': 'T05',
    'nodeport-cluster': 'T07',
    'nodeport-local': 'T08',
    'loadbalancer': 'T09,T10,T11',
    'affinity': 'T12',
    'no-endpoints': 'T13',
    'endpoint-leaves': 'T22',
    'udp-fragments': 'T16',
    'icmp-errors': 'T14,T18',
    'ipv6': 'T28',
    'internal-local': 'T30',
    'pod-to-outside': 'T31',
}
NODES = ('node1', 'node2')
SHARED = ['cluster.yaml', 'cluster-v2.yaml'] + [
    f'{node}.{kind}' for node in NODES for kind in ('v4.rules', 'v6.rules', 'ifmap.json')
]
SYSCTLS = re.compile(
    r'^net\.(ipv4\.(ip_forward|conf\.all\.(rp_filter|route_localnet|send_redirects|accept_local|src_valid_mark)'
    r'|ip_default_ttl|icmp_ratelimit|ip_local_port_range)|ipv6\.conf\.all\.forwarding|netfilter\.nf_conntrack_\w+) ='
)


def main():
    out = sys.argv[1]
    names = [word for word in sys.argv[2:] if not word.startswith('--')] or list(STORIES)
    options = [word for word in sys.argv[2:] if word.startswith('--')]
    os.makedirs(out, exist_ok=True)
    for name in names:
        with tempfile.TemporaryDirectory() as run:
            command = [sys.executable, f'{HERE}/lab.py', 'all', '--out', run, '--only', STORIES[name], *options]
            subprocess.run(command, check=True)
            keep(run, out, os.path.join(out, name))


def keep(run, out, story):
    os.makedirs(story, exist_ok=True)
    for file in SHARED:
        shutil.copyfile(f'{run}/{file}', f'{out}/{file}')
    events = [json.loads(line) for line in open(f'{run}/events.jsonl')]
    with open(f'{story}/case.jsonl', 'w') as file:
        file.writelines(json.dumps(event) + '\n' for event in events)
    for node in NODES:
        shutil.copyfile(f'{run}/{node}.any.pcap', f'{story}/{node}.any.pcap')
        shutil.copyfile(f'{run}/{node}.ct-events.txt', f'{story}/{node}.ct-events.txt')
        facts(run, out, node)


def facts(run, out, node):
    """net.json without what changes from run to run, and the sysctls a packet's way depends on."""
    net = json.load(open(f'{run}/{node}.net.json'))
    for link in net['link'] + net['addr']:
        for key in ('stats64', 'link_netnsid', 'link_index', 'link', 'linkinfo', 'num_tx_queues', 'num_rx_queues'):
            if key != 'linkinfo' or link.get('linkinfo', {}).get('info_kind') == 'veth':
                link.pop(key, None)
    net['neigh'] = []
    json.dump(net, open(f'{out}/{node}.net.json', 'w'), indent=None, separators=(',', ':'), sort_keys=True)
    lines = [line for line in open(f'{run}/{node}.sysctl') if SYSCTLS.match(line)]
    with open(f'{out}/{node}.sysctl', 'w') as file:
        file.writelines(line for line in lines if 'count' not in line)


if __name__ == '__main__':
    main()
