"""A model gateway on OpenSSL: ADDRESS PORT CERTIFICATE [KEY].

With KEY it calls the real endpoint for each request, with that key; else it answers by itself.
"""

import http.server
import json
import ssl
import sys
import urllib.request

ADDRESS, PORT, CERTIFICATE = sys.argv[1], int(sys.argv[2]), sys.argv[3]
KEY = sys.argv[4] if len(sys.argv) > 4 else None
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


class Gateway(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        answer = json.dumps({"id": "local", "model": "local", "choices": [], "usage": USAGE}).encode()
        if KEY:
            headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
            request = urllib.request.Request("https://api.openai.com/v1/chat/completions", body, headers)
            with urllib.request.urlopen(request) as response:
                answer = response.read()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE)
server = http.server.ThreadingHTTPServer((ADDRESS, PORT), Gateway)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()
