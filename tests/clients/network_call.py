"""One call over an unusual way through the network: KEY MODEL MODE.

Modes: mptcp (Multipath TCP), fastopen (the ClientHello in the SYN), nameless (no server name, the host in the request),
or connect:PORT (an HTTP proxy on the loopback address), relay:PORT (a relay there that passes everything on).
"""

import http.client
import io
import json
import os
import socket
import ssl
import sys

KEY, MODEL, MODE = sys.argv[1:4]
HOST = "api.openai.com"
IPPROTO_MPTCP = 262
# Data of the first write goes out with the SYN (tcp(7)).
TCP_FASTOPEN_CONNECT = 30


class Apart:
    """A TLS connection apart from its socket, which need not be connected before something is written."""

    def __init__(self, tcp):
        self.tcp, self.arrived, self.leaving = tcp, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.arrived, self.leaving, server_hostname=HOST)
        self.step(self.tls.do_handshake)

    def step(self, act, *arguments):
        while True:
            try:
                result = act(*arguments)
            except ssl.SSLWantReadError:
                result = None
            if self.leaving.pending:
                self.tcp.sendall(self.leaving.read())
            if result is not None or act == self.tls.do_handshake and self.tls.version():
                return result
            self.arrived.write(self.tcp.recv(65536))

    def sendall(self, data):
        self.step(self.tls.write, data)

    def makefile(self, mode):
        return io.BufferedReader(Reader(self))

    def close(self):
        self.tcp.close()


class Reader(io.RawIOBase):
    def __init__(self, connection):
        self.connection = connection

    def readable(self):
        return True

    def readinto(self, room):
        data = self.connection.step(self.connection.tls.read, len(room))
        room[: len(data)] = data
        return len(data)


context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
address = (socket.gethostbyname(HOST), 443)
name = HOST
port = int(MODE.partition(":")[2] or 0)

print(os.getpid(), flush=True)
if MODE == "mptcp":
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    tcp.connect(address)
elif MODE == "fastopen":
    tcp = socket.socket()
    tcp.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    tcp.connect(address)
elif MODE == "nameless":
    context.check_hostname = False
    name = None
    tcp = socket.create_connection(address)
elif MODE.startswith("connect:"):
    tcp = socket.create_connection(("127.0.0.1", port))
    tcp.sendall(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += tcp.recv(1)
elif MODE.startswith("relay:"):
    tcp = socket.create_connection(("127.0.0.1", port))
else:
    sys.exit(f"unknown mode {MODE}")

connection = http.client.HTTPSConnection(HOST)
connection.sock = Apart(tcp) if MODE == "fastopen" else context.wrap_socket(tcp, server_hostname=name)
body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "PROMPT-CANARY-51c9"}]})
headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
connection.request("POST", "/v1/chat/completions", body, headers)
response = connection.getresponse()
response.read()
assert response.status == 200, response.status
