"""Ports of pods, as a kubelet gives them away over a WebSocket: for each, a channel for bytes and one for its failure.

https://github.com/kubernetes/kubelet/tree/v0.34.4/pkg/cri/streaming/portforward. Each message begins with the number of
its channel; the first in every channel is the number of the port. SPDY, which kubectl speaks, is not spoken.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from aiohttp import WSMsgType, web

from diskyard.api import meta
from diskyard.api.meta import POD, Key
from diskyard.api.pod import facts
from diskyard.errors import BadRequest
from diskyard.kube.client import Client
from diskyard.web import websocket
from diskyard.web.bridge import call

CHUNK: Final = 64 << 10
"""Bytes of a message at most."""
_MOST: Final = 16
"""So many ports at once."""
_CONNECT: Final = 5.0


async def forwarded(request: web.Request, client: Client, pod: Key) -> web.StreamResponse:
    """The ports that the query names, until somebody closes. Raises NotFound, BadRequest."""
    if not websocket.wanted(request.headers):
        raise BadRequest(
            f"this node gives ports away over WebSockets alone ({websocket.CHANNELS}), as `diskyard image-upload` and "
            "Python's `kubernetes` ask for them; kubectl asks over SPDY"
        )
    ports = _ports(request.query.getall("port", []))
    found = await call(client.get, POD, pod)
    address = facts(found).ip
    if not address:
        raise BadRequest(f"pod {pod} has no address yet: it is {meta.phase(found) or 'Pending'}")
    asks = await websocket.opened(request, (websocket.CHANNELS,))
    writers: dict[int, asyncio.StreamWriter] = {}
    tasks = []
    try:
        for channel, port in zip(range(0, 2 * len(ports), 2), ports, strict=True):
            for each in (channel, channel + 1):
                await asks.send_bytes(bytes([each]) + port.to_bytes(2, "little"))
            try:
                async with asyncio.timeout(_CONNECT):
                    reader, writers[channel] = await asyncio.open_connection(address, port)
            except OSError as error:
                why = f"error forwarding port {port} to pod {pod}: {error or 'it does not answer'}"
                await asks.send_bytes(bytes([channel + 1]) + why.encode())
                continue
            tasks.append(asyncio.create_task(_out(reader, asks, channel)))
        await _in(asks, writers)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers.values():
            writer.close()
    return asks


async def _out(reader: asyncio.StreamReader, asks: web.WebSocketResponse, channel: int) -> None:
    """What a pod says; the end of all, where it ends."""
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            await asks.send_bytes(bytes([channel]) + chunk)
    await asks.close()


async def _in(asks: web.WebSocketResponse, writers: Mapping[int, asyncio.StreamWriter]) -> None:
    if not writers:
        return
    with suppress(OSError):
        async for message in asks:
            if message.type is WSMsgType.BINARY and message.data[:1] and message.data[0] in writers:
                writer = writers[message.data[0]]
                writer.write(message.data[1:])
                await writer.drain()


def _ports(said: Sequence[str]) -> list[int]:
    texts = [text for each in said for text in each.split(",")]
    if not 0 < len(texts) <= _MOST:
        raise BadRequest(f"port: expected 1 to {_MOST}, found {len(texts)}")
    for text in texts:
        if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536):
            raise BadRequest(f"port: expected a number from 1 to 65535, found {text[:16]!r}")
    return [int(text) for text in texts]
