"""One call over gRPC with grpcio, whose TLS is BoringSSL: KEY MODEL MODE; without TLS where the mode begins with clear-."""

import os
import sys

import grpc


def text(number, value):
    """A field of text, as protobuf writes it."""
    data = value.encode()
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def varint(value):
    more = bytearray()
    while value > 127:
        more.append(value & 127 | 128)
        value >>= 7
    return bytes(more) + bytes([value])


def channel(options=None):
    """A channel to xAI's host."""
    with open(os.environ["SSL_CERT_FILE"], "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    return grpc.secure_channel("api.x.ai:443", credentials, options)


def chat(model, prompt):
    """A request: field numbers of chat.proto of xai-org/xai-proto, messages 1, model 2."""
    return text(1, prompt) + text(2, model)


def main(key, model, mode):
    print(os.getpid(), flush=True)
    request = chat(model, "PROMPT-CANARY-51c9")
    metadata = [("authorization", f"Bearer {key}")]
    clear = mode.startswith("clear-")
    with grpc.insecure_channel("api.x.ai:80") if clear else channel() as calls:
        if mode.endswith("stream"):
            for _ in calls.unary_stream("/xai_api.Chat/GetCompletionChunk")(request, metadata=metadata, timeout=20):
                pass
        else:
            calls.unary_unary("/xai_api.Chat/GetCompletion")(request, metadata=metadata, timeout=20)


if __name__ == "__main__":
    main(*sys.argv[1:4])
