"""One call over gRPC with grpcio, whose TLS is BoringSSL: KEY MODEL MODE."""

import os
import sys

import grpc

KEY, MODEL, MODE = sys.argv[1:4]


def text(number, value):
    data = value.encode()
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def varint(value):
    more = bytearray()
    while value > 127:
        more.append(value & 127 | 128)
        value >>= 7
    return bytes(more) + bytes([value])


print(os.getpid(), flush=True)
with open(os.environ["SSL_CERT_FILE"], "rb") as file:
    credentials = grpc.ssl_channel_credentials(file.read())
# Field numbers of chat.proto of xai-org/xai-proto: messages 1, model 2.
request = text(1, "PROMPT-CANARY-51c9") + text(2, MODEL)
metadata = [("authorization", f"Bearer {KEY}")]
with grpc.secure_channel("api.x.ai:443", credentials) as channel:
    if MODE == "stream":
        for _ in channel.unary_stream("/xai_api.Chat/GetCompletionChunk")(request, metadata=metadata, timeout=20):
            pass
    else:
        channel.unary_unary("/xai_api.Chat/GetCompletion")(request, metadata=metadata, timeout=20)
