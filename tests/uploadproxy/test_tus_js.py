"""tus-js-client as its authors built it, on an empty page of a browser: a client that knows nothing of us but tus."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from standalone.store.objects import Objects
from tests.flows.browser import Page, browser
from tests.uploadproxy.front import Front, front
from tests.uploadproxy.images import MIB, holds, noise
from tests.uploadproxy.line import Line

LIBRARY = Path(__file__).parents[2] / "pages" / "vendor" / "tus.min.js"
RAW = noise(5 * MIB + 17)
BEGIN = """
var ended = '', upload = new tus.Upload(document.getElementById('file').files[0], {
  ...OPTIONS, retryDelays: Array(60).fill(500),
  onShouldRetry: error => ![400, 401, 410].includes(error.originalResponse && error.originalResponse.getStatus()),
  onProgress: sent => { if (STOP && sent >= STOP) { upload.abort(); ended = 'stopped' } },
  onSuccess: () => { ended = 'done' }, onError: error => { ended = String(error) }});
upload.start()
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if not shutil.which("chromium"):
        pytest.skip("there is no chromium here: packages.sh installs it")
    with browser(tmp_path_factory.mktemp("browser")) as found:
        found.run(LIBRARY.read_text())
        yield found


@pytest.fixture
def place(store: Objects, tmp_path: Path) -> Iterator[Front]:
    with front(store, tmp_path) as found:
        yield found


@pytest.fixture
def image(page: Page, tmp_path: Path) -> None:
    """What the page's user has chosen."""
    file = tmp_path / "Win10.iso"
    file.write_bytes(RAW)
    page.run("document.body.innerHTML = '<input type=file id=file>'")
    page.choose(file)


def ended(page: Page, stop: int = 0, **options: Any) -> str:
    """How an upload ends; `stop`: its user has enough after so many bytes."""
    page.run(BEGIN.replace("OPTIONS", json.dumps(options)).replace("STOP", str(stop)) + ";0")
    return str(page.until("ended"))


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize(
    "options",
    [{"chunkSize": MIB}, {"chunkSize": 2 * MIB, "uploadDataDuringCreation": True}, {"overridePatchMethod": True}],
    ids=["by chunks", "with the first chunk at its creation", "where no PATCH gets through"],
)  # fmt: skip
def test_an_image_goes_in(place: Front, page: Page, options: dict[str, Any]) -> None:
    wish = {"endpoint": f"{place.proxy()}/v1/uploads", "headers": place.bearer(), **options}

    assert ended(page, **wish) == "done"

    assert place.pod.ended()[0] == 0
    assert holds(place.pod.disk, RAW)


@pytest.mark.usefixtures("image")
def test_what_was_stopped_goes_on_by_another_proxy(place: Front, page: Page) -> None:
    first, second = place.proxy(), place.proxy()
    wish = {"headers": place.bearer(), "chunkSize": MIB}
    assert ended(page, 2 * MIB, endpoint=f"{first}/v1/uploads", **wish) == "stopped"
    path = urlsplit(page.run("upload.url")).path

    assert ended(page, uploadUrl=f"{second}{path}", **wish) == "done"

    assert place.pod.ended()[0] == 0
    assert holds(place.pod.disk, RAW)


@pytest.mark.usefixtures("image")
def test_it_goes_on_by_itself_when_the_line_breaks(place: Front, page: Page) -> None:
    where = urlsplit(place.proxy())
    with closing(Line(str(where.hostname), where.port or 0)) as line:
        line.at(3 * MIB, line.cut)
        line.at(4 * MIB, line.cut)
        url = line.url.replace("https", "http")

        assert ended(page, endpoint=f"{url}/v1/uploads", headers=place.bearer(), chunkSize=2 * MIB) == "done"

    assert place.pod.ended()[0] == 0
    assert holds(place.pod.disk, RAW)


@pytest.mark.usefixtures("image")
def test_what_is_refused_is_told(place: Front, page: Page) -> None:
    url = f"{place.proxy()}/v1/uploads"

    stranger = ended(page, endpoint=url, headers={"Authorization": "Bearer abc"})
    wrong = ended(page, endpoint=url, headers=place.bearer(), metadata={"checksum": f"sha256:{'0' * 64}"})

    assert "response code: 401" in stranger
    assert "response code: 400" in wrong
    assert place.pod.left() == []
