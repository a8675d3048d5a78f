"""WebSockets as Kubernetes' clients open them: a token may stand among the subprotocols, as browsers set no header."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Final

from aiohttp import hdrs, web

BEARER: Final = "base64url.bearer.authorization.k8s.io."
"""What a subprotocol begins with that carries a token (`apiserver/pkg/authentication/request/websocket`)."""
CHANNELS: Final = "v4.channel.k8s.io"
"""The subprotocol of several streams in one: each message begins with the number of its channel."""
_HEARTBEAT: Final = 30.0


def wanted(headers: Mapping[str, str]) -> bool:
    """Whether a request asks for a WebSocket."""
    upgrades = headers.get(hdrs.UPGRADE, "").lower(), headers.get(hdrs.CONNECTION, "").lower()
    return upgrades[0] == "websocket" and "upgrade" in upgrades[1]


def token(headers: Mapping[str, str]) -> str:
    """The token that a request for a WebSocket carries beside another subprotocol; empty: none that can be read."""
    offered = _offered(headers)
    carried = [one for one in offered if one.startswith(BEARER)]
    if not wanted(headers) or len(carried) != 1 or len(offered) < 2:
        return ""
    text = carried[0].removeprefix(BEARER)
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""


async def opened(request: web.Request, spoken: Sequence[str] = ()) -> web.WebSocketResponse:
    """The WebSocket asked for, in the first subprotocol offered that is spoken; where none is spoken, in any."""
    offered = [one for one in _offered(request.headers) if not one.startswith(BEARER)]
    known = [one for one in offered if one in spoken] if spoken else offered[:1]
    socket = web.WebSocketResponse(protocols=known[:1], heartbeat=_HEARTBEAT, max_msg_size=1 << 20)
    await socket.prepare(request)
    return socket


def _offered(headers: Mapping[str, str]) -> list[str]:
    said = headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "")
    return [one.strip() for one in said.split(",") if one.strip()]
