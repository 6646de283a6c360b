"""Keeps the first bytes that a TLS client sends, up to one whole ClientHello.

usage: capture.py OUTPUT COMMAND...   ({port} in COMMAND becomes the listener's port)
"""
import socket, subprocess, sys

output, command = sys.argv[1], sys.argv[2:]
with socket.create_server(("127.0.0.1", 0)) as listener:
    port = str(listener.getsockname()[1])
    client = subprocess.Popen(
        [word.replace("{port}", port) for word in command],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    connection, _ = listener.accept()
    connection.settimeout(1)
    seen = b""
    try:
        while chunk := connection.recv(65536):
            seen += chunk
    except TimeoutError:
        pass
    client.kill()
    client.wait()
open(output, "wb").write(seen)
print(output, len(seen))
