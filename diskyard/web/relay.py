"""A stream behind a WebSocket: consoles, screens and ports, as KubeVirt's clients speak with them."""

import asyncio
import socket
from contextlib import suppress
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from diskyard.web import websocket

CHUNK: Final = 64 << 10
"""Bytes of a message at most; the longest datagram fits."""


async def relay(request: web.Request, stream: socket.socket, protocol: str) -> web.StreamResponse:
    """Carry bytes both ways in that subprotocol, until one side ends; the stream is closed then.

    What comes as a datagram goes as a message, and the other way round.
    """
    with stream:
        stream.setblocking(False)
        client = await websocket.opened(request, (protocol,))
        out = asyncio.create_task(_out(stream, client))
        try:
            await _in(client, stream)
        finally:
            out.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await out
    return client


async def _out(stream: socket.socket, client: web.WebSocketResponse) -> None:
    loop = asyncio.get_running_loop()
    datagrams = stream.type == socket.SOCK_DGRAM  # an empty one is no end
    with suppress(OSError):
        while (chunk := await loop.sock_recv(stream, CHUNK)) or datagrams:
            await client.send_bytes(chunk)
    await client.close(code=WSCloseCode.OK)


async def _in(client: web.WebSocketResponse, stream: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        async for message in client:
            if message.type is WSMsgType.BINARY:
                await loop.sock_sendall(stream, message.data)
            elif message.type is WSMsgType.TEXT:
                await loop.sock_sendall(stream, message.data.encode())
