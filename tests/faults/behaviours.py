"""What servers do to a transfer, beside what tests/imageserver.py knows: each a behaviour for one request."""

import gzip
import socket
import struct
import threading

from tests.imageserver import Behaviour, Exchange

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset."""


def reset(at: int) -> Behaviour:
    """Reset the connection before byte `at` of the body."""

    def behave(exchange: Exchange) -> None:
        exchange.ranged(stop=at)
        exchange.handler.wfile.flush()
        exchange.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    return behave


def stall(at: int, released: threading.Event) -> Behaviour:
    """Say nothing more from byte `at` on, and keep the connection open."""

    def behave(exchange: Exchange) -> None:
        exchange.ranged(stop=at)
        exchange.handler.wfile.flush()
        released.wait(30)

    return behave


def silent(released: threading.Event) -> Behaviour:
    """Take the request and never answer."""
    return lambda _: released.wait(30) and None


def drip(exchange: Exchange) -> None:
    """Slow loris: the first bytes come one by one, each in time."""
    start, end, body = exchange.start, exchange.end, exchange.server.body
    exchange.answer(
        206, {"ETag": exchange.server.etag, "Content-Range": f"bytes {start}-{end - 1}/{len(body)}"},
        length=end - start,
    )  # fmt: skip
    for place in range(start, min(start + 200, end)):
        exchange.handler.wfile.write(body[place : place + 1])
        exchange.handler.wfile.flush()
        threading.Event().wait(0.002)
    exchange.handler.wfile.write(body[start + 200 : end])
    exchange.server.sent += end - start


def shifted(exchange: Exchange) -> None:
    """Bytes from seven further on than was asked for."""
    first, whole = exchange.start + 7, exchange.server.body
    said = {"ETag": exchange.server.etag, "Content-Range": f"bytes {first}-{len(whole) - 1}/{len(whole)}"}
    exchange.answer(206, said, whole[first:])


def no_content_range(exchange: Exchange) -> None:
    """A part that does not say which."""
    exchange.answer(206, {"ETag": exchange.server.etag}, exchange.server.body[exchange.start :])


def lying_content_range(exchange: Exchange) -> None:
    """The right bytes of a file that has suddenly another size."""
    whole, start, end = exchange.server.body, exchange.start, exchange.end
    said = {"ETag": exchange.server.etag, "Content-Range": f"bytes {start}-{end - 1}/{len(whole) * 2}"}
    exchange.answer(206, said, whole[start:end])


def part_of_who_knows_what(exchange: Exchange) -> None:
    """The first bytes, of a file whose size is not said."""
    said = {"ETag": exchange.server.etag, "Content-Range": "bytes 0-299999/*"}
    exchange.answer(206, said, exchange.server.body[:300_000])


def shorter_part(exchange: Exchange) -> None:
    """Less than was asked for, and says so."""
    whole, start = exchange.server.body, exchange.start
    end = min(start + 300_000, exchange.end)
    said = {"ETag": exchange.server.etag, "Content-Range": f"bytes {start}-{end - 1}/{len(whole)}"}
    exchange.answer(206, said, whole[start:end])


def longer_part(exchange: Exchange) -> None:
    """More than the file has."""
    whole, start, end = exchange.server.body, exchange.start, exchange.end
    said = {"ETag": exchange.server.etag, "Content-Range": f"bytes {start}-{end - 1}/{len(whole)}"}
    exchange.answer(206, said, whole[start:end] + b"\xee" * 5000)


def whole_again(exchange: Exchange) -> None:
    """200 and everything, with the same ETag: a server that forgot how to give ranges."""
    exchange.answer(200, {"ETag": exchange.server.etag}, exchange.server.body)


def changed(exchange: Exchange) -> None:
    """Another version from now on."""
    exchange.server.etag = '"v2"'
    exchange.answer(200, {"ETag": '"v2"'}, exchange.server.body)


def error_page(exchange: Exchange) -> None:
    """A proxy's page, with status 200."""
    exchange.answer(
        200, {"Content-Type": "text/html"}, b"<!doctype html><title>Service unavailable</title>" * 50
    )


def unranged(cut: int | None = None) -> Behaviour:
    """A server without ranges, that breaks off before byte `cut`."""
    return lambda exchange: exchange.answer(
        200, {}, exchange.server.body[:cut], length=len(exchange.server.body)
    )


def chunked(end: bytes = b"0\r\n\r\n", coding: str = "chunked") -> Behaviour:
    """Transfer coding in place of a length."""

    def behave(exchange: Exchange) -> None:
        body = gzip.compress(exchange.server.body, 0) if "gzip" in coding else exchange.server.body
        exchange.handler.protocol_version = "HTTP/1.1"
        exchange.handler.send_response(200)
        exchange.handler.send_header("Transfer-Encoding", coding)
        exchange.handler.end_headers()
        for place in range(0, len(body), 100_000):
            part = body[place : place + 100_000]
            exchange.handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        exchange.handler.wfile.write(end)
        exchange.handler.close_connection = True
        exchange.server.sent += len(body)

    return behave


def gzipped(exchange: Exchange) -> None:
    """Content-Encoding that nobody asked for."""
    exchange.answer(200, {"Content-Encoding": "gzip"}, gzip.compress(exchange.server.body, 0))
