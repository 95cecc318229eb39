"""Crafted packets from inside a pod (needs root in that netns). crafted.py CASE SVC_IP POD_IP GW_MAC_IFACE"""

import sys, logging

logging.getLogger('scapy').setLevel(40)
from scapy.all import *

conf.verb = 0
case, svc, src = sys.argv[1:4]
I = 'eth0'
gw = open('/sys/class/net/eth0/address').read()


def nexthop():
    import subprocess

    for l in subprocess.check_output(['ip', 'neigh', 'show', 'dev', I]).decode().split('\n'):
        if 'lladdr' in l and not l.startswith('fe80'):
            return l.split()[l.split().index('lladdr') + 1]


M = nexthop()
me = get_if_hwaddr(I)
E = Ether(src=me, dst=M)
E4 = Ether(src=me, dst=M, type=0x800)  # E / Raw would get ethertype 0x9000
ip = lambda **k: IP(src=src, dst=svc, **k)


def tx(*p):
    for x in p:
        sendp(x, iface=I)
        time.sleep(0.02)


web = 80
if case == 'tcpflags':  # each from its own source port, so each is its own tuple
    for i, fl in enumerate(['A', 'R', 'RA', 'SA', 'FA', 'FPU', '', 'SF', 'SR', 'PA']):
        tx(
            E
            / ip(id=1000 + i)
            / TCP(sport=51000 + i, dport=web, flags=fl, seq=1000, ack=2000 if 'A' in fl else 0)
            / (b'data' if fl == 'PA' else b'')
        )
elif case == 'badsum':
    tx(
        E / ip(id=1100) / TCP(sport=51100, dport=web, flags='S', chksum=0x1234),
        E / ip(id=1101, chksum=0x4321) / TCP(sport=51101, dport=web, flags='S'),
        E / ip(id=1102) / UDP(sport=51102, dport=9000, chksum=0x1111) / b'badsum',
    )
elif case == 'ttl1':
    tx(
        E / ip(ttl=1, id=1200) / TCP(sport=51200, dport=web, flags='S'),
        E / ip(ttl=1, id=1201) / UDP(sport=51201, dport=9000) / b'ttl1',
        E / ip(ttl=0, id=1202) / TCP(sport=51202, dport=web, flags='S'),
        E / ip(ttl=2, id=1203) / TCP(sport=51203, dport=web, flags='S'),
    )
elif case == 'ipopts':
    tx(
        E
        / IP(
            src=src,
            dst=svc,
            id=1300,
            options=[IPOption_RR(length=11, routers=['0.0.0.0'] * 2), IPOption_NOP()],
        )
        / TCP(
            sport=51300,
            dport=web,
            flags='S',
            options=[('MSS', 1460), ('SAckOK', b''), ('Timestamp', (1, 0)), ('NOP', None), ('WScale', 7)],
        ),
        E / ip(id=1301, tos=0xB9) / TCP(sport=51301, dport=web, flags='SEC'),
        E
        / IP(src=src, dst=svc, id=1302, options=[IPOption_LSRR(length=7, routers=['10.244.2.10'])])
        / TCP(sport=51302, dport=web, flags='S'),
    )
elif case == 'udp0sum':
    tx(E / ip(id=1400) / UDP(sport=51400, dport=9000, chksum=0) / b'zero checksum')
elif case == 'frags':
    p = IP(src=src, dst=svc, id=1500) / UDP(sport=51500, dport=9000) / (b'A' * 3000)
    f = fragment(p, 1000)
    tx(*[E / x for x in f])
    time.sleep(0.2)
    p.id = 1501
    p[UDP].sport = 51501
    del p[UDP].chksum
    f = fragment(IP(bytes(p)), 1000)
    tx(*[E / x for x in reversed(f)])
    time.sleep(0.2)  # last first
    p.id = 1502
    p[UDP].sport = 51502
    f = fragment(IP(bytes(p)), 1000)
    tx(E / f[0], E / f[0], *[E / x for x in f[1:]])
    time.sleep(0.2)  # duplicate first
    p.id = 1503
    p[UDP].sport = 51503
    f = fragment(IP(bytes(p)), 1000)
    tx(*[E / x for x in f[:-1]])  # never completed
    p.id = 1504
    p[UDP].sport = 51504
    f = fragment(IP(bytes(p)), 1000)
    o = f[1].copy()
    o.frag -= 10
    del o.chksum
    tx(E / f[0], E / o, *[E / x for x in f[1:]])  # overlap
    q = IP(src=src, dst=svc, id=1505) / TCP(
        sport=51505, dport=web, flags='S', options=[('MSS', 1460)] + [('NOP', None)] * 8
    )
    tx(*[E / x for x in fragment(q, 8)])  # tiny TCP fragments
elif case == 'icmp':
    tx(
        E / ip(id=1600) / ICMP(type=8, id=77, seq=1) / b'ping clusterip',
        E / ip(id=1601) / ICMP(type=3, code=3) / IP(src=svc, dst=src) / UDP(sport=9999, dport=8888) / b'x',
        E / ip(id=1602) / ICMP(type=13),
    )
elif case == 'sctp':
    tx(
        E
        / ip(id=1700, proto=132)
        / SCTP(sport=51700, dport=9999, tag=0)
        / SCTPChunkInit(init_tag=0x1234, a_rwnd=65535, n_out_streams=1, n_in_streams=1, init_tsn=1)
    )
elif case == 'otherproto':
    tx(
        E / ip(id=1800, proto=47) / b'\0\0\x08\0',
        E / ip(id=1804, proto=47) / (b'\0\0\x08\0' + b'E' + b'\0' * 19),
        E / ip(id=1801, proto=136) / UDP(sport=51801, dport=9000) / b'udplite',
        E / ip(id=1802, proto=50) / (b'\0' * 32),
        E / ip(id=1803, proto=33) / (b'\xc8\x00\x00\x50' + b'\0' * 16),
    )
elif case == 'l2':
    tx(
        Ether(src=me, dst='02:00:de:ad:be:ef') / ip(id=1900) / TCP(sport=51900, dport=web, flags='S'),
        E / Dot1Q(vlan=100) / ip(id=1901) / TCP(sport=51901, dport=web, flags='S'),
        Ether(src=me, dst='ff:ff:ff:ff:ff:ff') / ip(id=1902) / TCP(sport=51902, dport=web, flags='S'),
        E4 / Raw(bytes(ip(id=1903) / TCP(sport=51903, dport=web, flags='S')) + b'\0' * 30),
        Ether(src=me, dst=M, type=0x88B5) / b'private ethertype',
        E / IP(src='10.244.99.99', dst=svc, id=1904) / TCP(sport=51904, dport=web, flags='S'),
        E / IP(src='127.0.0.1', dst=svc, id=1905) / TCP(sport=51905, dport=web, flags='S'),
    )
elif case == 'trunc':  # headers that lie about their length
    b = bytes(ip(id=2000) / TCP(sport=52000, dport=web, flags='S'))
    tx(
        E4 / Raw(b[:30]),
        E4 / Raw(b[:19]),
        E4 / Raw(b[:2] + b'\xff\xff' + b[4:]),
        E4 / Raw(bytes([0x4F]) + b[1:]),
        E4 / Raw(bytes([0x65]) + b[1:]),
        E4 / Raw(bytes([0x43]) + b[1:]),
    )
    q = bytes(ip(id=2001) / TCP(sport=52001, dport=web, flags='S', dataofs=15))
    tx(E4 / Raw(q))
    q = bytes(ip(id=2002) / UDP(sport=52002, dport=9000, len=4) / b'abcdef')
    tx(E4 / Raw(q))
    q = bytes(ip(id=2003) / UDP(sport=52003, dport=9000, len=900) / b'abcdef')
    tx(E4 / Raw(q))
print('sent', case)
