"""An endpoint over HTTP/3 with aioquic: ADDRESS CERTIFICATE."""

import asyncio
import sys

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated

ADDRESS, CERTIFICATE = sys.argv[1:3]


class Endpoint(QuicConnectionProtocol):
    http = None

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        for one in self.http.handle_event(event) if self.http else []:
            if one.stream_ended:
                self.http.send_headers(one.stream_id, [(b":status", b"200"), (b"content-type", b"application/json")])
                self.http.send_data(one.stream_id, b'{"model":"local"}', end_stream=True)
                self.transmit()


async def main():
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, is_client=False)
    configuration.load_cert_chain(CERTIFICATE)
    await serve(ADDRESS, 443, configuration=configuration, create_protocol=Endpoint)
    print("ready", flush=True)
    await asyncio.Future()


asyncio.run(main())
