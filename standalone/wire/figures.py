"""`/metrics` of the yard's server: what its controllers count, and what its guests use."""

from aiohttp import web

from diskyard.kube.figures import Figures
from diskyard.web.bridge import call

PATH = "/metrics"


def serve(app: web.Application, figures: Figures) -> None:
    """Answer Prometheus, for those who may (`nonResourceURLs`), in the text format."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(body=await call(figures.text), content_type="text/plain", charset="utf-8")

    app.router.add_get(PATH, page)
