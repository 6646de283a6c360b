"""One chat call over HTTP/3 with aioquic: KEY MODEL."""

import asyncio
import json
import os
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

KEY, MODEL = sys.argv[1:3]
HOST = "api.openai.com"


class Client(QuicConnectionProtocol):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.http = H3Connection(self._quic)
        self.answer = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event):
        for one in self.http.handle_event(event):
            if isinstance(one, HeadersReceived) and dict(one.headers)[b":status"] != b"200":
                sys.exit("the endpoint refused the call")
            if one.stream_ended and not self.answer.done():
                self.answer.set_result(None)

    async def call(self):
        body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "PROMPT-CANARY-51c9"}]}).encode()
        head = {
            ":method": "POST",
            ":scheme": "https",
            ":authority": HOST,
            ":path": "/v1/chat/completions",
            "authorization": f"Bearer {KEY}",
            "content-type": "application/json",
        }
        stream = self._quic.get_next_available_stream_id()
        self.http.send_headers(stream, [(name.encode(), value.encode()) for name, value in head.items()])
        self.http.send_data(stream, body, end_stream=True)
        self.transmit()
        await asyncio.wait_for(self.answer, 20)


async def main():
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN)
    configuration.load_verify_locations(os.environ["SSL_CERT_FILE"])
    async with connect(HOST, 443, configuration=configuration, create_protocol=Client) as client:
        await client.call()


print(os.getpid(), flush=True)
asyncio.run(main())
