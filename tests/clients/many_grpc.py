"""Many connections at once from one process, by grpcio, whose TLS is BoringSSL: STACK ROUNDS, one key a line on standard
input.

Every key has a channel of its own, open from the first round to the last. The model name is many-ROUND-INDEX, so each
request can be told from all others.
"""

import os
import sys

from grpc_call import channel, chat

ROUNDS = int(sys.argv[2])
KEYS = sys.stdin.read().split()

print(os.getpid(), flush=True)
# Otherwise channels to one server share a connection.
channels = [channel([("grpc.use_local_subchannel_pool", 1)]) for _ in KEYS]
for turn in range(ROUNDS):
    calls = []
    for index, (one, key) in enumerate(zip(channels, KEYS)):
        request = chat(f"many-{turn}-{index}", "PROMPT-CANARY-51c9 " + "x" * (index * 37 % 3000))
        call = one.unary_unary("/xai_api.Chat/GetCompletion")
        calls.append(call.future(request, metadata=[("authorization", f"Bearer {key}")], timeout=60))
    for call in calls:
        call.result()
