"""Topology and Kubernetes objects of the lab, one place. `python3 topology.py DIR` writes DIR/cluster.yaml (+ cluster-v2.yaml)."""

import sys, os, yaml

P = 'tl-'  # every netns name starts with this
POD4, POD6 = '10.244.0.0/16', 'fd00:10:244::/48'
SVC4, SVC6 = '10.96.0.0/16', 'fd00:10:96::/112'
NODES = {
    'node1': dict(ip4='192.168.50.11', ip6='fd00:50::11', pod4='10.244.1', pod6='fd00:10:244:1:'),
    'node2': dict(ip4='192.168.50.12', ip6='fd00:50::12', pod4='10.244.2', pod6='fd00:10:244:2:'),
}
RTR = dict(node4='192.168.50.1', node6='fd00:50::1', cl4='203.0.113.1', cl6='2001:db8:c::1')
CLIENT = dict(ip4=['203.0.113.10', '203.0.113.20'], ip6=['2001:db8:c::10', '2001:db8:c::20'])
PMTU_CLIENT4, PMTU = '203.0.113.20', 1400  # the router has "mtu lock 1400" for this host only
# pod: (node, last octet, labels)
PODS = {
    'cli-a': ('node1', 20, 'client'),
    'web-a': ('node1', 10, 'web'),
    'dns-a': ('node1', 53, 'dns'),
    'cli-b': ('node2', 20, 'client'),
    'web-b': ('node2', 10, 'web'),
    'web-c': ('node2', 11, 'web'),
    'dns-b': ('node2', 53, 'dns'),
    'udp-b': ('node2', 30, 'udp'),
}


def pod4(p):
    n, o, _ = PODS[p]
    return f"{NODES[n]['pod4']}.{o}"


def pod6(p):
    n, o, _ = PODS[p]
    return f"{NODES[n]['pod6']}:{o}"


LBROUTE = {
    '198.51.100.10': 'node1',
    '198.51.100.11': 'node2',
    '198.51.100.12': 'node1',
    '198.51.100.13': 'node1',
}
WEB3 = ['web-a', 'web-b', 'web-c']
# name: (clusterIP last octet, ports[(name,proto,port,targetPort,nodePort)], endpoints, extra spec)
SVCS = {
    'default/web': (10, [('http', 'TCP', 80, 8080, None)], WEB3, {}),
    'default/web-np': (
        20,
        [('http', 'TCP', 80, 8080, 30080)],
        WEB3,
        dict(type='NodePort', externalIPs=['198.51.100.13']),
    ),
    'default/web-local': (
        21,
        [('http', 'TCP', 80, 8080, 30081)],
        ['web-b', 'web-c'],
        dict(
            type='LoadBalancer',
            externalTrafficPolicy='Local',
            healthCheckNodePort=32081,
            lbip='198.51.100.11',
        ),
    ),
    'default/web-lb': (
        30,
        [('http', 'TCP', 80, 8080, 30082)],
        ['web-a', 'web-b'],
        dict(type='LoadBalancer', lbip='198.51.100.10'),
    ),
    'default/web-fw': (
        80,
        [('http', 'TCP', 80, 8080, 30083)],
        ['web-c'],
        dict(type='LoadBalancer', lbip='198.51.100.12', loadBalancerSourceRanges=['203.0.113.10/32']),
    ),
    'default/sticky': (
        40,
        [('http', 'TCP', 80, 8080, None)],
        WEB3,
        dict(sessionAffinity='ClientIP', sessionAffinityConfig={'clientIP': {'timeoutSeconds': 10800}}),
    ),
    'kube-system/kube-dns': (
        53,
        [('dns', 'UDP', 53, 53, None), ('dns-tcp', 'TCP', 53, 53, None)],
        ['dns-a', 'dns-b'],
        {},
    ),
    'default/udp-echo': (50, [('echo', 'UDP', 9000, 9000, 30090)], ['web-a', 'udp-b'], dict(type='NodePort')),
    'default/refused': (60, [('http', 'TCP', 80, 81, None), ('u', 'UDP', 81, 82, None)], ['web-a'], {}),
    'default/empty': (
        70,
        [('http', 'TCP', 80, 8080, 30099), ('u', 'UDP', 80, 8080, 30099)],
        [],
        dict(type='NodePort'),
    ),
    'default/sctp': (90, [('s', 'SCTP', 9999, 9998, None)], ['web-b'], {}),
    'default/int-local': (
        100,
        [('http', 'TCP', 80, 8080, None)],
        ['web-b'],
        dict(internalTrafficPolicy='Local'),
    ),
    'default/iperf': (
        110,
        [('tcp', 'TCP', 5201, 5201, None), ('udp', 'UDP', 5201, 5201, None)],
        ['web-c'],
        {},
    ),
    'default/churn': (
        120,
        [('http', 'TCP', 80, 8080, None), ('echo', 'UDP', 9000, 9000, None)],
        ['web-a', 'web-b'],
        {},
    ),  # v2: web-a leaves
}


def objects(v2=False):
    out = []
    for n, d in NODES.items():
        out.append(
            dict(
                apiVersion='v1',
                kind='Node',
                metadata=dict(name=n),
                spec=dict(podCIDRs=[d['pod4'] + '.0/24', d['pod6'] + ':/64']),
                status=dict(
                    addresses=[
                        dict(type='InternalIP', address=d['ip4']),
                        dict(type='InternalIP', address=d['ip6']),
                    ]
                ),
            )
        )
    for p, (n, o, l) in PODS.items():
        out.append(
            dict(
                apiVersion='v1',
                kind='Pod',
                metadata=dict(name=p, namespace='default', labels=dict(app=l)),
                spec=dict(nodeName=n),
                status=dict(podIP=pod4(p), podIPs=[dict(ip=pod4(p)), dict(ip=pod6(p))]),
            )
        )
    for full, (o, ports, eps, x) in SVCS.items():
        ns, name = full.split('/')
        x = dict(x)
        lb = x.pop('lbip', None)
        dual = not lb and not x.get('externalIPs')
        cips = [f'10.96.0.{o}'] + ([f'fd00:10:96::{o}'] if dual else [])
        spec = dict(
            type=x.pop('type', 'ClusterIP'),
            clusterIP=cips[0],
            clusterIPs=cips,
            ipFamilies=['IPv4', 'IPv6'][: len(cips)],
            selector=dict(app=name),
            ports=[
                {k: v for k, v in dict(name=a, protocol=b, port=c, targetPort=d, nodePort=e).items() if v}
                for a, b, c, d, e in ports
            ],
            **x,
        )
        svc = dict(apiVersion='v1', kind='Service', metadata=dict(name=name, namespace=ns), spec=spec)
        if lb:
            svc['status'] = dict(loadBalancer=dict(ingress=[dict(ip=lb, ipMode='VIP')]))
        out.append(svc)
        if v2 and name == 'churn':
            eps = [e for e in eps if e != 'web-a']
        for fam, f in (('IPv4', pod4), ('IPv6', pod6))[: len(cips)]:
            out.append(
                dict(
                    apiVersion='discovery.k8s.io/v1',
                    kind='EndpointSlice',
                    metadata=dict(
                        name=f'{name}-{fam.lower()}',
                        namespace=ns,
                        labels={'kubernetes.io/service-name': name},
                    ),
                    addressType=fam,
                    ports=[dict(name=a, protocol=b, port=d) for a, b, c, d, e in ports],
                    endpoints=[
                        dict(
                            addresses=[f(e)],
                            nodeName=PODS[e][0],
                            conditions=dict(ready=True, serving=True, terminating=False),
                            targetRef=dict(kind='Pod', name=e, namespace='default'),
                        )
                        for e in eps
                    ],
                )
            )
    return out


if __name__ == '__main__':
    d = sys.argv[1]
    os.makedirs(d, exist_ok=True)
    for v in (0, 1):
        yaml.safe_dump_all(
            objects(bool(v)), open(f"{d}/cluster{'-v2' if v else ''}.yaml", 'w'), sort_keys=False
        )
