"""Sends random TCP sequences through a namespace's conntrack and writes what iptables' conntrack match saw of each segment.

Makes the recordings that src/linux/netfilter/tcp-window.test.ts is held against. Needs root.
usage: record_tcp.py SEED COUNT OUT LIBERAL   (LIBERAL: 0 or 1, nf_conntrack_tcp_be_liberal)
"""
import ctypes, os, random, re, select, socket, struct, subprocess, sys, time
seed, count, out, liberal = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
N, W = f'tw-tcpw-n{seed}', f'tw-tcpw-w{seed}'
def sh(c, **k): return subprocess.run(c, shell=True, check=True, capture_output=True, **k).stdout.decode()
def clean():
    for n in (N, W): subprocess.run(f'ip netns del {n}', shell=True, capture_output=True)
clean()
sh(f'ip netns add {N}; ip netns add {W}')
for a, b in (('a0', 'wa'), ('b0', 'wb')): sh(f'ip -n {N} link add {a} type veth peer name {b} netns {W}')
for n, i in ((N, 'a0'), (N, 'b0'), (W, 'wa'), (W, 'wb'), (N, 'lo')): sh(f'ip -n {n} link set {i} up')
sh(f'ip -n {N} addr add 10.1.0.1/24 dev a0; ip -n {N} addr add 10.2.0.1/24 dev b0')
sh(f'ip -n {N} neigh add 10.1.0.2 lladdr 02:00:00:00:00:02 dev a0 nud permanent; ip -n {N} neigh add 10.2.0.2 lladdr 02:00:00:00:00:03 dev b0 nud permanent')
ex = f'ip netns exec {N} '
rules = '*mangle\n' + ''.join(f'-A FORWARD -m conntrack --ctstate {s} -j TTL --ttl-set {t}\n' for s, t in (('NEW', 101), ('ESTABLISHED', 102), ('RELATED', 103), ('INVALID', 104), ('UNTRACKED', 105))) + 'COMMIT\n'
subprocess.run(ex + 'iptables-legacy-restore', shell=True, check=True, input=rules.encode())
for s in ('net.ipv4.ip_forward=1', f'net.netfilter.nf_conntrack_tcp_be_liberal={liberal}', 'net.ipv4.conf.all.send_redirects=0', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.a0.rp_filter=0', 'net.ipv4.conf.b0.rp_filter=0'): sh(ex + f'sysctl -qw {s}')
mac = {i: bytes.fromhex(sh(ex + f'cat /sys/class/net/{i}/address').strip().replace(':', '')) for i in ('a0', 'b0')}
libc = ctypes.CDLL(None); libc.setns(os.open(f'/var/run/netns/{W}', os.O_RDONLY), 0)
socks = []
for i in ('wa', 'wb'):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x800)); s.bind((i, 0x800)); socks.append(s)
def cs(b):
    if len(b) % 2: b += b'\0'
    s = sum(struct.unpack('!%dH' % (len(b) // 2), b))
    while s >> 16: s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff
A, B = socket.inet_aton('10.1.0.2'), socket.inet_aton('10.2.0.2')
def pkt(d, sport, flags, seq, ack, n, win, opts):
    s, t = (A, B) if d == 0 else (B, A); sp, dp = (sport, 80) if d == 0 else (80, sport)
    tcp = struct.pack('!HHIIBBHHH', sp, dp, seq, ack, (20 + len(opts)) << 2, flags, win, 0, 0) + opts + b'x' * n
    c = cs(s + t + struct.pack('!BBH', 0, 6, len(tcp)) + tcp); tcp = tcp[:16] + struct.pack('!H', c) + tcp[18:]
    ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, s, t); ip = ip[:10] + struct.pack('!H', cs(ip)) + ip[12:]
    return ip + tcp
def xchg(d, p):
    i, o, m = (socks[0], socks[1], mac['a0']) if d == 0 else (socks[1], socks[0], mac['b0'])
    i.send(m + b'\x02\0\0\0\0\x09' + b'\x08\0' + p)
    end = time.time() + 1
    while time.time() < end:
        if not select.select([o], [], [], end - time.time())[0]: break
        f, addr = o.recvfrom(4096)
        if addr[2] != 4: return f[14 + 8]
    return 0
rnd = random.Random(seed)
F = {'S': 2, 'SA': 18, 'A': 16, 'PA': 24, 'FA': 17, 'R': 4, 'RA': 20}
M = 0xffffffff
def pad(o): return o + b'\1' * (-len(o) % 4)
def synopts():
    o = b''
    if rnd.random() < .5: o += b'\x02\x04\x05\xb4'
    if rnd.random() < .6: o += b'\x04\x02'
    if rnd.random() < .6: o += b'\x01\x03\x03' + bytes([rnd.choice([0, 1, 2, 7, 14, 15])])
    if rnd.random() < .05: o += b'\x03\x09'
    return pad(o)
JUMP = [1, 1, 5, 20, 500, 999, 1000, 1001, 3000, 66000, 66001, 70000, 200000, 5000000]
def jump(): return rnd.choice(JUMP) * rnd.choice([-1, 1])
lines = []
if os.environ.get('SCRIPT'):
    for k, line in enumerate(open(os.environ['SCRIPT']).read().split('\n')):
        if not line.strip(): continue
        words = []
        for w in line.split():
            f, q, a, n, win, o = w[1:].split(':')[:6]; d = '><'.index(w[0])
            t = xchg(d, pkt(d, 2000 + k, int(f), int(q), int(a), int(n), int(win), bytes.fromhex(o)))
            words.append(':'.join(w.split(':')[:6]) + ':' + {101: 'N', 102: 'E', 103: 'L', 104: 'I', 105: 'U', 0: '-'}.get(t, '?'))
        left = sh(ex + f'conntrack -L -p tcp --sport {2000+k} 2>/dev/null')
        m = re.search(r'tcp +6 (\d+) (\w+) ', left); words.append(f"={m[2]}:{m[1]}:{'A' if 'ASSURED' in left else ''}" if m else '='); lines.append(' '.join(words))
    count = 0
for k in range(count):
    sport = 2000 + k
    seq = [rnd.choice([1000, M - 2000, 0x7ffffff0, 0x80000000 + 50]), rnd.choice([5000, M - 30, 0x7fffff00, 100])]
    acked = [0, 0]
    mode = rnd.choice(['full', 'full', 'full', 'full', 'close', 'part', 'none', 'simultaneous', 'lost'])
    script = {'full': [(0, 'S'), (1, 'SA'), (0, 'A'), (0, 'PA'), (1, 'A'), (1, 'PA'), (0, 'A')], 'close': [(0, 'S'), (1, 'SA'), (0, 'A'), (0, 'FA'), (1, 'FA'), (0, 'A')], 'part': [(0, 'S'), (1, 'SA')][:rnd.randint(0, 2)], 'none': [], 'simultaneous': [(0, 'S'), (1, 'S'), (0, 'SA'), (1, 'SA'), (1, 'A')], 'lost': [(0, 'S'), (1, 'SA'), (0, 'A'), (0, 'R'), (0, 'S'), (1, 'SA'), (0, 'A')]}[mode]
    noise = rnd.choice([0.05, 0.15, 0.35]); wins = rnd.choice([[1000], [65535], [0, 100, 1000, 30000], [1000, 500, 2000, 0]])
    words = []; previous = None
    for j in range(rnd.randint(8, 20)):
        if script and rnd.random() < 0.93: d, f = script.pop(0)
        else: d = rnd.randint(0, 1); f = rnd.choice(['A', 'A', 'A', 'A', 'PA', 'PA', 'PA', 'A', 'PA', 'FA', 'R', 'RA', 'S', 'SA'])
        n = rnd.choice([0, 10, 100, 1000, 1400]) if f in ('A', 'PA', 'FA') else 0
        if f == 'A' and rnd.random() < .6: n = 0
        q = seq[d]; a = seq[1 - d] if F[f] & 16 else 0
        opts = synopts() if F[f] & 2 else b''
        win = rnd.choice(wins)
        r = rnd.random()
        if r < noise: q = (q + jump()) & M
        elif r < noise * 1.7 and F[f] & 16: a = (a + jump()) & M
        elif r < noise * 1.8 and f in ('R', 'RA'): q = 0
        elif r < noise * 1.9 and f == 'RA': a = 0
        if f in ('A', 'PA') and rnd.random() < .25:
            if rnd.random() < .4: opts = b'\x01\x01\x08\x0a' + b'\0' * 8
            else:
                o = b'\x01\x01' + (b'\x08\x0a' + b'\0' * 8 + b'\x01\x01' if rnd.random() < .5 else b'')
                blocks = rnd.randint(1, 2 if len(o) > 2 else 3)
                o += b'\x05' + bytes([2 + 8 * blocks])
                for _ in range(blocks):
                    left = (seq[1 - d] + (jump() if rnd.random() < .5 else -rnd.randint(0, 1500))) & M
                    o += struct.pack('!II', left, (left + rnd.choice([10, 100, 1400])) & M)
                opts = pad(o)
        if previous and rnd.random() < .08: d, f, q, a, n, win, opts = previous
        previous = (d, f, q, a, n, win, opts)
        t = xchg(d, pkt(d, sport, F[f], q, a, n, win, opts))
        words.append('%s%d:%d:%d:%d:%d:%s:%s' % ('><'[d], F[f], q, a, n, win, opts.hex(), {101: 'N', 102: 'E', 103: 'L', 104: 'I', 105: 'U', 0: '-'}.get(t, '?')))
        e = (q + n + (1 if F[f] & 3 else 0)) & M
        if 0 <= ((e - seq[d]) & M) < 3000 or (F[f] & 2 and rnd.random() < .8): seq[d] = e
    left = sh(ex + f'conntrack -L -p tcp --sport {sport} 2>/dev/null; ' + ex + f'conntrack -L -p tcp --dport {sport} 2>/dev/null')
    m = re.search(r'tcp +6 (\d+) (\w+) ', left)
    words.append(f"={m[2]}:{m[1]}:{'A' if 'ASSURED' in left else ''}" if m else '=')
    lines.append(' '.join(words))
open(out, 'w').write('\n'.join(lines) + '\n')
clean()
