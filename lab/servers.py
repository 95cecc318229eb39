"""servers.py http PORT NAME | udpecho PORT NAME   (dual stack, one process each)"""

import sys, socket, threading, time, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

mode, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
BIG = bytes((i * 7 + 13) & 0xFF for i in range(256 * 1024))


class H(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def log_message(self, *a):
        pass

    def body(self, b, t='text/plain'):
        self.send_response(200)
        self.send_header('Content-Type', t)
        self.send_header('Content-Length', str(len(b)))
        self.send_header('X-Pod', name)
        self.send_header('X-Peer', '%s_%d' % self.client_address[:2])
        self.end_headers()
        self.wfile.write(b)

    def do_GET(self):
        if self.path == '/big':
            return self.body(BIG, 'application/octet-stream')
        if self.path.startswith('/slow'):  # one chunk each 200 ms, N chunks
            n = int(self.path.split('=')[1]) if '=' in self.path else 25
            self.send_response(200)
            self.send_header('Transfer-Encoding', 'chunked')
            self.send_header('X-Pod', name)
            self.end_headers()
            try:
                for i in range(n):
                    b = f'{name} {i}\n'.encode()
                    self.wfile.write(b'%x\r\n%s\r\n' % (len(b), b))
                    self.wfile.flush()
                    time.sleep(0.2)
                self.wfile.write(b'0\r\n\r\n')
            except OSError:
                pass
            return
        self.body(f'{name} saw {self.client_address[0]}:{self.client_address[1]}\n'.encode())

    def do_POST(self):
        n = int(self.headers.get('Content-Length', 0))
        self.rfile.read(n)
        self.body(f'{name} got {n}\n'.encode())


if mode == 'http':

    class S(ThreadingHTTPServer):
        address_family = socket.AF_INET6
        request_queue_size = 1024
        daemon_threads = True

    S(('::', port), H).serve_forever()
else:
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    s.bind(('::', port))
    s.setsockopt(0, 10, 0)  # IP_MTU_DISCOVER = DONT: replies may be fragmented
    try:
        s.setsockopt(41, 23, 0)  # IPV6_MTU_DISCOVER = DONT
    except OSError:
        pass
    # reply from the address the request came to: wildcard socket, one pod address -> fine without PKTINFO
    while True:
        d, a = s.recvfrom(65535)
        s.sendto(name.encode() + b'|' + d, a)
