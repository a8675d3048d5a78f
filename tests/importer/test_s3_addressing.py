"""Where a bucket's name stands in S3: in the host's name, or in the path. A proxy sees what is asked."""

import pytest

from diskyard.api.job import ImportJob
from importer.request import Access
from importer.s3 import Login, S3Source, place
from tests.imageserver import fault_server
from tests.importer.conftest import Pod

BODY = bytes(1 << 20)
NOBODY = Login(anonymous=True)


def test_amazon_is_asked_by_the_bucket_s_own_name_and_others_by_path() -> None:
    with fault_server(BODY) as proxy:
        access = Access(proxies={"http": f"http://127.0.0.1:{proxy.port}"})
        for url in ("http://s3.eu-west-3.amazonaws.com/b-1/k", "http://b-1.s3.eu-west-3.amazonaws.com/k"):
            S3Source(place(url), NOBODY, access).close()
        S3Source(place("http://store.invalid/b-1/k"), NOBODY, access).close()

    asked = [hit["path"] for hit in proxy.seen]
    assert asked == ["http://b-1.s3.eu-west-3.amazonaws.com/k"] * 2 + ["http://store.invalid/b-1/k"]


@pytest.mark.parametrize(
    ("style", "asked"), [("virtual", "b-1.store.invalid/k"), ("path", "store.invalid/b-1/k")]
)
def test_a_profile_may_say_where_the_bucket_s_name_stands(pod: Pod, style: str, asked: str) -> None:
    (pod.folder / "config").write_text(f"[default]\ns3 =\n  addressing_style = {style}\n")
    with fault_server(BODY) as proxy:
        job = ImportJob(
            "s3", "http://store.invalid/b-1/k", anonymous=True, http_proxy=f"http://127.0.0.1:{proxy.port}"
        )
        ended = pod.run(job, AWS_CONFIG_FILE=str(pod.folder / "config"))

    assert ended.code == 0, ended.log
    assert {hit["path"] for hit in proxy.seen} == {f"http://{asked}"}
