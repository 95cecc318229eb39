"""kube-proxy-shaped iptables-restore text from Kubernetes objects (Service, EndpointSlice, Node).
Chain names use kube-proxy's own hash, so they can be compared with a real `iptables-save`.
usage: rules.py cluster.yaml NODE 4|6 [--stat random|nth] [--masq-random-fully]"""

import argparse, base64, hashlib, ipaddress, yaml


def h(s):
    return base64.b32encode(hashlib.sha256(s.encode()).digest()).decode()[:16]


def gen(objs, node, fam, stat='random', random_fully=True, cluster_cidr=None, ipmasq=True):
    v6 = fam == 6
    cluster_cidr = cluster_cidr or ('fd00:10:244::/48' if v6 else '10.244.0.0/16')
    addr = lambda a: f'[{a}]' if v6 else a
    isf = lambda a: (':' in a) == v6
    node_ip = next(
        e['address']
        for o in objs
        if o['kind'] == 'Node' and o['metadata']['name'] == node
        for e in o['status']['addresses']
        if isf(e['address'])
    )
    slices = {}
    for o in objs:
        if o['kind'] == 'EndpointSlice' and o['addressType'] == ('IPv6' if v6 else 'IPv4'):
            slices.setdefault(
                (o['metadata']['namespace'], o['metadata']['labels']['kubernetes.io/service-name']), []
            ).append(o)
    F = {
        c: []
        for c in (
            'KUBE-SERVICES KUBE-EXTERNAL-SERVICES KUBE-FORWARD KUBE-NODEPORTS '
            'KUBE-PROXY-FIREWALL KUBE-FIREWALL'
        ).split()
    }
    N = {c: [] for c in 'KUBE-SERVICES KUBE-NODEPORTS KUBE-POSTROUTING KUBE-MARK-MASQ'.split()}

    def f(c, r):
        F.setdefault(c, []).append(r)

    def n(c, r=None):
        N.setdefault(c, [])
        if r:
            N[c].append(r)

    n('KUBE-MARK-MASQ', '-j MARK --or-mark 0x00004000')
    n('KUBE-POSTROUTING', '-m mark ! --mark 0x00004000/0x00004000 -j RETURN')
    n('KUBE-POSTROUTING', '-j MARK --xor-mark 0x00004000')
    n(
        'KUBE-POSTROUTING',
        '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE'
        + (' --random-fully' if random_fully else ''),
    )
    rej = 'REJECT'
    for s in objs:
        if s['kind'] != 'Service':
            continue
        ns, name, sp = s['metadata']['namespace'], s['metadata']['name'], s['spec']
        cip = next((a for a in sp['clusterIPs'] if isf(a)), None)
        if not cip:
            continue
        for p in sp['ports']:
            proto = p.get('protocol', 'TCP').lower()
            pn = f"{ns}/{name}" + (f":{p['name']}" if p.get('name') else '')
            H = h(pn + proto)
            SVC, SVL, EXT, FW = ('KUBE-%s-%s' % (k, H) for k in ('SVC', 'SVL', 'EXT', 'FW'))
            m = f'-m {proto} -p {proto}'
            eps = []
            for sl in slices.get((ns, name), []):
                tp = next((q['port'] for q in sl['ports'] if q['name'] == p.get('name')), None)
                for e in sl['endpoints']:
                    if tp and e['conditions'].get('ready', True):
                        eps.append((e['addresses'][0], tp, e.get('nodeName') == node))
            eps.sort(key=lambda e: f'{addr(e[0])}:{e[1]}')
            loc = [e for e in eps if e[2]]
            extL, intL = (
                sp.get('externalTrafficPolicy') == 'Local',
                sp.get('internalTrafficPolicy') == 'Local',
            )
            vips = [('external IP', a, EXT) for a in sp.get('externalIPs', []) if isf(a)]
            lbs = [
                i['ip']
                for i in s.get('status', {}).get('loadBalancer', {}).get('ingress', [])
                if isf(i['ip'])
            ]
            src = [r for r in sp.get('loadBalancerSourceRanges', []) if isf(r)]
            vips += [('loadbalancer IP', a, FW if src else EXT) for a in lbs]
            nport = p.get('nodePort')
            usesExt = bool(vips or nport)
            intEps = loc if intL else eps
            extEps = loc if extL else eps
            # cluster IP
            if intEps:
                n(
                    'KUBE-SERVICES',
                    f'-m comment --comment "{pn} cluster IP" {m} -d {cip} --dport {p["port"]} -j {SVL if intL else SVC}',
                )
            else:
                f(
                    'KUBE-SERVICES',
                    f'-m comment --comment "{pn} has no {"local " if eps else ""}endpoints" {m} -d {cip} --dport {p["port"]} -j {"DROP" if eps else rej}',
                )
            # external / LB / node port
            bad = None
            if not eps:
                bad = ('has no endpoints', rej)
            elif not extEps:
                bad = ('has no local endpoints', 'DROP')
            for lab, a, ch in vips:
                if eps:
                    n(
                        'KUBE-SERVICES',
                        f'-m comment --comment "{pn} {lab}" {m} -d {a} --dport {p["port"]} -j {ch}',
                    )
                if bad:
                    f(
                        'KUBE-EXTERNAL-SERVICES',
                        f'-m comment --comment "{pn} {bad[0]}" {m} -d {a} --dport {p["port"]} -j {bad[1]}',
                    )
                if src and eps and lab == 'loadbalancer IP':
                    f(
                        'KUBE-PROXY-FIREWALL',
                        f'-m comment --comment "{pn} traffic not accepted by {FW}" {m} -d {a} --dport {p["port"]} -j DROP',
                    )
            if nport:
                if eps:
                    n('KUBE-NODEPORTS', f'-m comment --comment {pn} {m} --dport {nport} -j {EXT}')
                if bad:
                    f(
                        'KUBE-EXTERNAL-SERVICES',
                        f'-m comment --comment "{pn} {bad[0]}" -m addrtype --dst-type LOCAL {m} --dport {nport} -j {bad[1]}',
                    )
            if sp.get('healthCheckNodePort') and extL:
                f(
                    'KUBE-NODEPORTS',
                    f'-m comment --comment "{pn} health check node port" -m tcp -p tcp --dport {sp["healthCheckNodePort"]} -j ACCEPT',
                )
            if not eps:
                continue
            if usesExt:
                n(EXT)
                if not extL:
                    n(
                        EXT,
                        f'-m comment --comment "masquerade traffic for {pn} external destinations" -j KUBE-MARK-MASQ',
                    )
                else:
                    n(
                        EXT,
                        f'-m comment --comment "pod traffic for {pn} external destinations" -s {cluster_cidr} -j {SVC}',
                    )
                    n(
                        EXT,
                        f'-m comment --comment "masquerade LOCAL traffic for {pn} external destinations" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ',
                    )
                    n(
                        EXT,
                        f'-m comment --comment "route LOCAL traffic for {pn} external destinations" -m addrtype --src-type LOCAL -j {SVC}',
                    )
                if extEps:
                    n(EXT, f'-j {SVL if extL else SVC}')
            if src and lbs:
                for r in src:
                    n(FW, f'-m comment --comment "{pn} loadbalancer IP" -s {r} -j {EXT}')
                if any(ipaddress.ip_address(node_ip) in ipaddress.ip_network(r) for r in src):
                    for vip in lbs:
                        n(FW, f'-m comment --comment "{pn} loadbalancer IP" -s {vip} -j {EXT}')
                n(FW, f'-m comment --comment "other traffic to {pn} will be dropped by KUBE-PROXY-FIREWALL"')
            useC = (not intL) or (usesExt)
            useL = bool(loc) and (intL or (extL and usesExt))
            if intEps:
                n(
                    SVL if intL else SVC,
                    f'-m comment --comment "{pn} cluster IP" {m} -d {cip} --dport {p["port"]} ! -s {cluster_cidr} -j KUBE-MARK-MASQ',
                )
            aff = sp.get('sessionAffinity') == 'ClientIP'
            to = (sp.get('sessionAffinityConfig') or {}).get('clientIP', {}).get('timeoutSeconds', 10800)
            used = set()
            for ch, es in ((SVC, eps if useC else []), (SVL, loc if useL else [])):
                if aff:
                    for a, q, _ in es:
                        se = 'KUBE-SEP-' + h(pn + proto + f'{addr(a)}:{q}')
                        n(
                            ch,
                            f'-m comment --comment "{pn} -> {addr(a)}:{q}" -m recent --name {se} --rcheck --seconds {to} --reap -j {se}',
                        )
                for i, (a, q, _) in enumerate(es):
                    k = len(es) - i
                    se = 'KUBE-SEP-' + h(pn + proto + f'{addr(a)}:{q}')
                    used.add((a, q, se))
                    st = (
                        ''
                        if k == 1
                        else (
                            f'-m statistic --mode random --probability {1/k:.10f} '
                            if stat == 'random'
                            else f'-m statistic --mode nth --every {k} --packet 0 '
                        )
                    )
                    n(ch, f'-m comment --comment "{pn} -> {addr(a)}:{q}" {st}-j {se}')
            for a, q, se in sorted(used):
                n(se, f'-m comment --comment {pn} -s {a} -j KUBE-MARK-MASQ')
                n(
                    se,
                    f'-m comment --comment {pn} '
                    + (f'-m recent --name {se} --set ' if aff else '')
                    + f'{m} -j DNAT --to-destination {addr(a)}:{q}',
                )
    n(
        'KUBE-SERVICES',
        '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL'
        + (' ! -d ::1/128' if v6 else '')
        + ' -j KUBE-NODEPORTS',
    )
    f(
        'KUBE-FORWARD', '-m conntrack --ctstate INVALID -j DROP'
    )  # kube-proxy adds "-m nfacct --nfacct-name ct_state_invalid_dropped_pkts" here; no effect on the verdict
    f(
        'KUBE-FORWARD',
        '-m comment --comment "kubernetes forwarding rules" -m mark --mark 0x00004000/0x00004000 -j ACCEPT',
    )
    f(
        'KUBE-FORWARD',
        '-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    )
    if not v6:
        f(
            'KUBE-FIREWALL',
            '-m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP',
        )
    J = {
        'f': [
            ('INPUT', 'KUBE-FIREWALL', None, 0),
            ('INPUT', 'KUBE-PROXY-FIREWALL', 'kubernetes load balancer firewall', 1),
            ('INPUT', 'KUBE-NODEPORTS', 'kubernetes health check service ports', 0),
            ('INPUT', 'KUBE-EXTERNAL-SERVICES', 'kubernetes externally-visible service portals', 1),
            ('FORWARD', 'KUBE-PROXY-FIREWALL', 'kubernetes load balancer firewall', 1),
            ('FORWARD', 'KUBE-FORWARD', 'kubernetes forwarding rules', 0),
            ('FORWARD', 'KUBE-SERVICES', 'kubernetes service portals', 1),
            ('FORWARD', 'KUBE-EXTERNAL-SERVICES', 'kubernetes externally-visible service portals', 1),
            ('OUTPUT', 'KUBE-FIREWALL', None, 0),
            ('OUTPUT', 'KUBE-PROXY-FIREWALL', 'kubernetes load balancer firewall', 1),
            ('OUTPUT', 'KUBE-SERVICES', 'kubernetes service portals', 1),
        ],
        'n': [
            ('PREROUTING', 'KUBE-SERVICES', 'kubernetes service portals', 0),
            ('OUTPUT', 'KUBE-SERVICES', 'kubernetes service portals', 0),
            ('POSTROUTING', 'KUBE-POSTROUTING', 'kubernetes postrouting rules', 0),
        ],
    }

    def jump(l):
        return [
            f'-A {b} '
            + ('-m conntrack --ctstate NEW ' if new else '')
            + (f'-m comment --comment "{c}" ' if c else '')
            + f'-j {t}'
            for b, t, c, new in l
        ]

    o = (
        ['*filter', ':INPUT ACCEPT [0:0]', ':FORWARD ACCEPT [0:0]', ':OUTPUT ACCEPT [0:0]']
        + [f':{c} - [0:0]' for c in F]
        + jump(J['f'])
        + [f'-A {c} {r}' for c in F for r in F[c]]
        + [
            'COMMIT',
            '*nat',
            ':PREROUTING ACCEPT [0:0]',
            ':INPUT ACCEPT [0:0]',
            ':OUTPUT ACCEPT [0:0]',
            ':POSTROUTING ACCEPT [0:0]',
        ]
        + [f':{c} - [0:0]' for c in N]
        + ([':CNI-MASQ - [0:0]'] if ipmasq else [])
        + jump(J['n'])
    )
    if (
        ipmasq
    ):  # what kindnet / ip-masq-agent add: pod -> outside world is masqueraded, pod -> pod and pod -> node is not
        nodenet = 'fd00:50::/64' if v6 else '192.168.50.0/24'
        o += [
            f'-A POSTROUTING -m comment --comment "cni masquerade" -s {cluster_cidr} -j CNI-MASQ',
            f'-A CNI-MASQ -d {cluster_cidr} -j RETURN',
            f'-A CNI-MASQ -d {nodenet} -j RETURN',
            f'-A CNI-MASQ -j MASQUERADE' + (' --random-fully' if random_fully else ''),
        ]
    o += [f'-A {c} {r}' for c in N for r in N[c]] + ['COMMIT', '']
    return '\n'.join(o)


if __name__ == '__main__':
    a = argparse.ArgumentParser()
    a.add_argument('yaml')
    a.add_argument('node')
    a.add_argument('fam', type=int)
    a.add_argument('--stat', default='random')
    a.add_argument('--masq-random-fully', action='store_true')
    z = a.parse_args()
    print(
        gen([d for d in yaml.safe_load_all(open(z.yaml)) if d], z.node, z.fam, z.stat, z.masq_random_fully),
        end='',
    )
