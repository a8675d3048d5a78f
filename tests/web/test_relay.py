"""A stream behind a WebSocket: a datagram is a message, and the end of one is the end of the other."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import websocket
from aiohttp import web

from diskyard.web.relay import relay
from diskyard.web.server import Place, start
from standalone.wire.ports import Port, connected

LOCALHOST = "127.0.0.1"
PLAIN = "plain.kubevirt.io"


@contextmanager
def joined(stream: socket.socket) -> Iterator[websocket.WebSocket]:
    """A client of a server that relays to that stream."""

    async def opened(request: web.Request) -> web.StreamResponse:
        return await relay(request, stream, PLAIN)

    app = web.Application()
    app.router.add_get("/", opened)
    running = start(app, Place(LOCALHOST))
    try:
        url = f"ws://{LOCALHOST}:{running.port}/"
        with closing(websocket.create_connection(url, timeout=60, subprotocols=[PLAIN])) as client:
            yield client
    finally:
        running.stop()


def test_a_datagram_is_a_message_each_way() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as guest:
        guest.bind((LOCALHOST, 0))
        guest.settimeout(60)
        with joined(connected(LOCALHOST, Port(guest.getsockname()[1], "udp"))) as client:
            for said in (b"one", b"", b"two" * 20_000):
                client.send_binary(said)
                heard, back = guest.recvfrom(1 << 16)
                same = heard == said
                assert same, len(heard)
                guest.sendto(said.upper(), back)
                same = client.recv() == said.upper()
                assert same, len(said)


def test_the_end_of_the_stream_is_the_end_of_the_socket() -> None:
    ours, guests = socket.socketpair()
    with joined(ours) as client:
        guests.sendall(b"the last words")
        guests.close()

        assert client.recv() == b"the last words"
        assert client.recv_frame().opcode == websocket.ABNF.OPCODE_CLOSE
