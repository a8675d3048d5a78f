"""A stream behind a WebSocket: consoles, screens and ports, as KubeVirt's clients speak with them."""

import asyncio
import socket
from contextlib import suppress
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from diskyard.web import websocket

CHUNK: Final = 32 << 10


async def relay(request: web.Request, stream: socket.socket, protocol: str) -> web.StreamResponse:
    """Carry bytes both ways in that subprotocol, until one side ends; the stream is closed then."""
    stream.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=stream)
    try:
        client = await websocket.opened(request, (protocol,))
        out = asyncio.create_task(_out(reader, client))
        try:
            await _in(client, writer)
        finally:
            out.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await out
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return client


async def _out(reader: asyncio.StreamReader, client: web.WebSocketResponse) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(CHUNK):
            await client.send_bytes(chunk)
    await client.close(code=WSCloseCode.OK)


async def _in(client: web.WebSocketResponse, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        async for message in client:
            if message.type is WSMsgType.BINARY:
                writer.write(message.data)
            elif message.type is WSMsgType.TEXT:
                writer.write(message.data.encode())
            await writer.drain()
