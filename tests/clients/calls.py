"""One call for each line of standard input, on a connection of its own: KEY. A line is the model's name."""

import http.client
import json
import os
import ssl
import sys

KEY = sys.argv[1]
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}

print(os.getpid(), flush=True)
for line in sys.stdin:
    body = json.dumps({"model": line.strip(), "messages": [{"role": "user", "content": "PROMPT-CANARY-51c9"}]})
    connection = http.client.HTTPSConnection("api.openai.com", context=context)
    connection.request("POST", "/v1/chat/completions", body, headers)
    answer = connection.getresponse()
    answer.read()
    print(answer.status, flush=True)
    connection.close()
