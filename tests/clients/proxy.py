"""A proxy on the loopback address that passes bytes on to ADDRESS 443; `connect` answers an HTTP CONNECT first."""

import socket
import sys
import threading

ADDRESS, MODE = sys.argv[1:3]


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client):
    if MODE == "connect":
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    server = socket.create_connection((ADDRESS, 443))
    threading.Thread(target=copy, args=(server, client), daemon=True).start()
    copy(client, server)


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connected, _ = listener.accept()
    threading.Thread(target=serve, args=(connected,), daemon=True).start()
