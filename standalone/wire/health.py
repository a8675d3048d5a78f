"""Is the server there, and is it ready: `/livez`, `/readyz` and `/healthz`, in the words of a real one.

`?verbose` names every check, `?exclude=NAME` leaves one out, `/readyz/NAME` asks for one alone.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from standalone.store.objects import Objects
from standalone.wire.catalogue import missing

PATHS: Final = ("/healthz", "/livez", "/readyz")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Check = Callable[[], str]
"""Empty: all is well; else what is not, for the log and for who asks for that check alone."""
_NO_GUESSING: Final = {"X-Content-Type-Options": "nosniff"}


def add_routes(router: web.UrlDispatcher, objects: Objects) -> None:
    """Serve the three of them."""
    checks = {"ping": lambda: "", "store": lambda: objects.trouble}
    for path in PATHS:
        router.add_route("*", path, _all(path, checks))
        router.add_route("*", path + "/{check:.*}", _one(checks))


def _all(path: str, checks: Mapping[str, Check]) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        excluded = set(request.query.getall("exclude", ()))
        lines, failed = [], False
        for name, check in checks.items():
            if name in excluded:
                lines.append(f"[+]{name} excluded: ok\n")
            elif check():
                failed = True
                lines.append(f"[-]{name} failed: reason withheld\n")
            else:
                lines.append(f"[+]{name} ok\n")
        if unknown := sorted(excluded - checks.keys()):
            names = ",".join(f'"{name}"' for name in unknown)
            lines.append(f"warn: some health checks cannot be excluded: no matches for {names}\n")
        said = "".join(lines)
        if failed:
            return _text(f"{said}{path[1:]} check failed\n", 500)
        return _text(f"{said}{path[1:]} check passed\n" if "verbose" in request.query else "ok")

    return answer


def _one(checks: Mapping[str, Check]) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        name = request.match_info["check"]
        if name not in checks:
            raise missing()
        why = checks[name]()
        return _text(f"internal server error: {why}\n", 500) if why else _text("ok")

    return answer


def _text(text: str, code: int = 200) -> web.Response:
    return web.Response(text=text, status=code, headers=_NO_GUESSING)
