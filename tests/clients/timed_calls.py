"""Calls one after the other on one connection, by the standard library: KEY COUNT. Nanoseconds of each, a line each."""

import http.client
import json
import ssl
import sys
import time

KEY, COUNT = sys.argv[1], int(sys.argv[2])
BODY = {
    "model": "gpt-5-mini",
    "messages": [{"role": "user", "content": "PROMPT-CANARY-51c9 " + "x" * 1000}],
    "stream": True,
    "stream_options": {"include_usage": True},
}
HEADERS = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}

connection = http.client.HTTPSConnection("api.openai.com", context=ssl.create_default_context())
taken = []
for _ in range(COUNT):
    start = time.perf_counter_ns()
    connection.request("POST", "/v1/chat/completions", json.dumps(BODY), HEADERS)
    answer = connection.getresponse()
    answer.read()
    taken.append(time.perf_counter_ns() - start)
    if answer.status != 200:
        sys.exit(f"answered {answer.status}")
print("\n".join(map(str, taken)))
