"""Small deterministic clients.

  clients.py udp HOST PORT SIZE N [SPORT]
  clients.py tcpn HOST PORT N CONC [SPORT0]
  clients.py samepair HOST PORT SPORT N [SRC]
  clients.py rst HOST PORT
  clients.py clash HOST PORT SPORT SRC …
  clients.py udphold HOST PORT SPORT SECONDS
"""

import sys, socket, time, struct, threading

a = sys.argv[1:]


def fam(h):
    return socket.AF_INET6 if ':' in h else socket.AF_INET


def http(s, path='/', keep=False):
    s.sendall(
        f'GET {path} HTTP/1.1\r\nHost: x\r\nConnection: {"keep-alive" if keep else "close"}\r\n\r\n'.encode()
    )
    b = b''
    while True:
        d = s.recv(65536)
        if not d:
            break
        b += d
    return b


if a[0] == 'udp':
    h, p, size, n = a[1], int(a[2]), int(a[3]), int(a[4])
    s = socket.socket(fam(h), socket.SOCK_DGRAM)
    s.settimeout(1.5)
    if len(a) > 5:
        s.bind(('', int(a[5])))
    if fam(h) == socket.AF_INET:
        s.setsockopt(0, 10, 0)
    ok = 0
    for i in range(n):
        s.sendto(bytes([65 + i % 26]) * size, (h, p))
        try:
            d, _ = s.recvfrom(65535)
            ok += 1
            print(d[:8].split(b'|')[0].decode(), len(d))
        except Exception as e:
            print('lost', e)
    sys.exit(0 if ok == n else 1)
if a[0] == 'tcpn':
    h, p, n, conc = a[1], int(a[2]), int(a[3]), int(a[4])
    res = {}
    sem = threading.Semaphore(conc)
    lk = threading.Lock()

    def one(i):
        try:
            s = socket.create_connection((h, p), 5)
            time.sleep(0.3)
            b = http(s)
            s.close()
            k = b.split(b'\r\n\r\n')[-1].split(b' ')[0].decode()
        except Exception as e:
            k = type(e).__name__
        with lk:
            res[k] = res.get(k, 0) + 1
        sem.release()

    T = []
    for i in range(n):
        sem.acquire()
        t = threading.Thread(target=one, args=(i,))
        t.start()
        T.append(t)
    for t in T:
        t.join()
    print(res)
if (
    a[0] == 'samepair'
):  # the same 5-tuple again and again; server closes first, so the client side has no TIME_WAIT
    h, p, sp, n = a[1], int(a[2]), int(a[3]), int(a[4])
    out = []
    for i in range(n):
        s = socket.socket(fam(h))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((a[5] if len(a) > 5 else '', sp))
        s.settimeout(4)
        try:
            s.connect((h, p))
            out.append(http(s).split(b'\r\n\r\n')[-1].split(b' ')[0].decode())
        except Exception as e:
            out.append(type(e).__name__)
        s.close()
        time.sleep(0.05)
    print(out)
if a[0] == 'rst':
    s = socket.create_connection((a[1], int(a[2])), 4)
    s.sendall(b'GET /big HTTP/1.1\r\nHost: x\r\n\r\n')
    s.recv(4096)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()
    print('reset sent')
if a[0] == 'clash':  # connect with a fixed source port from every SRC given, all open together
    h, p, sp = a[1], int(a[2]), int(a[3])
    S = []
    for src in a[4:]:
        s = socket.socket(fam(h))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((src, sp))
        s.settimeout(4)
        s.connect((h, p))
        S.append(s)
    time.sleep(0.2)
    for s in S:
        print(http(s).split(b'\r\n\r\n')[-1].decode().strip())
if a[0] == 'udphold':
    h, p, sp, sec = a[1], int(a[2]), int(a[3]), float(a[4])
    s = socket.socket(fam(h), socket.SOCK_DGRAM)
    s.bind(('', sp))
    s.settimeout(0.3)
    t = time.time()
    out = []
    while time.time() - t < sec:
        s.sendto(b'x', (h, p))
        try:
            out.append(s.recvfrom(99)[0].split(b'|')[0].decode())
        except Exception as e:
            out.append(type(e).__name__)
        time.sleep(0.3)
    print(out)
