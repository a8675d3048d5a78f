"""Bodies that say a field twice, or what does less than their author may think."""

from pathlib import Path

import pytest
import urllib3
import yaml

from diskyard.api.meta import KINDS
from standalone.admission import Rules
from standalone.wire.strict import duplicates
from tests import builders
from tests.served import served
from tests.standalone.wire.conftest import Wire

MAPS = "/api/v1/namespaces/{place}/configmaps"
EXAMPLES = Path(__file__).parents[3] / "docs/examples"
TWICE = b'{"metadata":{"name":"one"},"data":{"a":"1","a":"2"}}'


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b'{"a":1,"b":{"a":2}}', ()),
        (b'{"a":1,"a":2,"a":3}', ("a",)),
        (b'{"a":{"b":[{"c":1},{"c":1,"c":2}]}}', ("a.b[1].c",)),
        (b'{"a":{"b":1,"b":2},"a":{"b":1,"b":2}}', ("a.b", "a")),
        (b'{"n":%s,"n":1.5e400}' % (b"9" * 5000), ("n",)),
        (b'[{"a":1,"a":2}]', ("[0].a",)),
        (b'"a"', ()),
    ],
)
def test_a_field_that_is_said_twice_is_found(raw: bytes, fields: tuple[str, ...]) -> None:
    assert duplicates(raw) == tuple(f'duplicate field "{field}"' for field in fields)


def test_the_last_of_them_counts_and_is_warned_of(wire: Wire, place: str) -> None:
    answer = wire.send("POST", MAPS.format(place=place), TWICE)

    assert answer.obj["data"] == {"a": "2"}
    assert answer.headers["Warning"] == '299 - "duplicate field \\"data.a\\""'


def test_it_is_refused_where_the_client_is_strict(wire: Wire, place: str) -> None:
    answer = wire.send("POST", MAPS.format(place=place) + "?fieldValidation=Strict", TWICE)

    assert answer.status == 400
    assert answer.obj["message"] == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: duplicate field "data.a"'
    )


def test_what_does_less_than_its_author_may_think_is_warned_of(tmp_path: Path) -> None:
    old = {**builders.machine("vm"), "apiVersion": "kubevirt.io/v1alpha3"}
    old["spec"] = {"running": False, "template": old["spec"]["template"]}
    path = "/apis/kubevirt.io/v1alpha3/namespaces/default/virtualmachines"

    with served(tmp_path, rules=Rules()) as yard, urllib3.PoolManager(ca_certs=str(yard.authority)) as pool:
        made = Wire(yard, pool).send("POST", path, old)

    assert made.status == 201
    assert "spec.running is deprecated, please use spec.runStrategy instead." in made.headers["Warning"]


def test_a_field_of_a_machine_that_nobody_reads_is_warned_of(tmp_path: Path) -> None:
    machine = builders.machine("vm")
    machine["spec"]["template"]["spec"]["domain"]["devices"]["disks"][0]["bootorder"] = 1
    path = "/apis/kubevirt.io/v1/namespaces/default/virtualmachines"

    with served(tmp_path, rules=Rules()) as yard, urllib3.PoolManager(ca_certs=str(yard.authority)) as pool:
        made = Wire(yard, pool).send("POST", path, machine)

    assert made.status == 201
    assert "spec.template.spec.domain.devices.disks[0].bootorder" in made.headers["Warning"]


def test_a_setting_of_a_kubevirt_that_nothing_follows_is_warned_of(tmp_path: Path) -> None:
    kubevirt = {"apiVersion": "kubevirt.io/v1", "kind": "KubeVirt", "metadata": {"name": "kubevirt"},
                "spec": {"configuration": {"vmRolloutStrategy": "LiveUpdate"}}}  # fmt: skip
    path = "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts"

    with served(tmp_path, rules=Rules()) as yard, urllib3.PoolManager(ca_certs=str(yard.authority)) as pool:
        wire = Wire(yard, pool)
        wire.send("POST", "/api/v1/namespaces", builders.namespace("kubevirt"))
        made = wire.send("POST", path, kubevirt)

    assert made.status == 201
    assert "spec.configuration.vmRolloutStrategy is kept, and nothing follows it" in made.headers["Warning"]


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_examples_of_the_documentation_are_taken_without_a_warning(tmp_path: Path, file: Path) -> None:
    with served(tmp_path, rules=Rules()) as yard, urllib3.PoolManager(ca_certs=str(yard.authority)) as pool:
        wire = Wire(yard, pool)
        for obj in yaml.safe_load_all(file.read_text()):
            kind = next(
                kind for kind in KINDS if (kind.api_version, kind.kind) == (obj["apiVersion"], obj["kind"])
            )
            made = wire.send("POST", f"/apis/{kind.api_version}/namespaces/default/{kind.plural}", obj)

            assert (made.status, made.headers.get("Warning")) == (201, None), made.obj
