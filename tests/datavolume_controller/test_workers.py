"""What an operator sets reaches the pods that it concerns."""

from typing import Any

import pytest

from datavolume_controller import importer, uploader
from datavolume_controller.settings import settings
from datavolume_controller.trust import Share
from diskyard import log
from diskyard.api import meta
from diskyard.api.config import Config, config
from diskyard.api.meta import CDI, CDI_CONFIG, CONFIG_MAP, NAMESPACE, Key, Obj
from diskyard.api.names import cdi
from diskyard.api.storage import claim
from standalone.store.objects import Objects
from tests import builders
from tests.datavolume_controller.worlds import NOW

SPREAD = {"tolerations": [{"key": "disks", "operator": "Exists"}], "nodeSelector": {"disks": "fast"}}


def asked(status: Obj | None = None, spec: Obj | None = None, **owner: Any) -> Config:
    return config({"spec": spec or {}, "status": status or {}}, {"spec": owner})


def pods(settings: Config, **annotations: str) -> dict[str, Obj]:
    """Each worker's pod for a claim."""
    obj = builders.stored(builders.claim("disk"))
    obj["metadata"]["annotations"] = {
        cdi.IMPORT_SOURCE: "http",
        cdi.IMPORT_ENDPOINT: "http://x/y",
        **annotations,
    }
    found = claim(obj)
    return {
        "import": importer.pod(obj, found, settings),
        "upload": uploader.pod(obj, found, settings, meta.moment(NOW)),
    }


@pytest.mark.parametrize("worker", ["import", "upload"])
def test_every_worker_gets_the_operators_settings(worker: str) -> None:
    resources = {"limits": {"memory": "2G"}}
    settings = asked(
        {"defaultPodResourceRequirements": resources, "imagePullSecrets": [{"name": "pull"}]},
        {"logVerbosity": 3},
        workload=SPREAD,
        imagePullPolicy="Always",
    )

    spec = pods(settings)[worker]["spec"]

    assert (spec["nodeSelector"], spec["tolerations"]) == (SPREAD["nodeSelector"], SPREAD["tolerations"])
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    container = spec["containers"][0]
    assert (container["imagePullPolicy"], container["resources"]) == ("Always", resources)
    assert {"name": "DISKYARD_VERBOSITY", "value": "3"} in container["env"]


@pytest.mark.parametrize("worker", ["import", "upload"])
def test_what_nobody_sets_is_not_in_a_pod(worker: str) -> None:
    spec = pods(asked())[worker]["spec"]

    assert not {"nodeSelector", "tolerations", "affinity", "imagePullSecrets"} & set(spec)
    assert "DISKYARD_VERBOSITY" not in {each["name"] for each in spec["containers"][0]["env"]}


@pytest.mark.parametrize(("said", "level"), [("", "INFO"), ("0", "WARNING"), ("1", "INFO"), ("9", "DEBUG")])
def test_verbosity_is_a_level_of_the_log(said: str, level: str) -> None:
    assert log.level(said) == level


def test_proxies_reach_the_importer() -> None:
    proxy = {"HTTPProxy": "http://p:1", "HTTPSProxy": "http://p:2", "noProxy": ".internal"}
    env = {
        each["name"]: each.get("value")
        for each in pods(asked({"importProxy": proxy}))["import"]["spec"]["containers"][0]["env"]
    }

    assert [env[name] for name in ("http_proxy", "https_proxy", "no_proxy")] == list(proxy.values())


@pytest.mark.parametrize(
    ("annotations", "sources"),
    [({}, ["proxy"]), ({cdi.IMPORT_CERTIFICATES: "own"}, ["proxy", "own"])],
    ids=["the proxy's alone", "beside the source's"],
)
def test_the_importer_believes_the_proxys_authorities(
    annotations: dict[str, str], sources: list[str]
) -> None:
    settings = asked({"importProxy": {"trustedCAProxy": "proxy"}})

    spec = pods(settings, **annotations)["import"]["spec"]

    volume = next(each for each in spec["volumes"] if each["name"] == "cdi-cert-vol")
    assert [each["configMap"]["name"] for each in volume["projected"]["sources"]] == sources
    assert {"name": "IMPORTER_CERT_DIR", "value": "/certs"} in spec["containers"][0]["env"]


def proxy_map(namespace: str, text: str, **metadata: Any) -> Obj:
    return builders.some(CONFIG_MAP, "proxy", namespace, data={"ca.crt": text}, metadata=metadata)


def test_authorities_are_copied_to_where_importers_run(store: Objects) -> None:
    store.create(NAMESPACE, builders.namespace("cdi"))
    store.create(CONFIG_MAP, proxy_map("cdi", "one"))
    Share("proxy", "default").carry_out(store)
    store.patch(CONFIG_MAP, Key("proxy", "cdi"), {"data": {"ca.crt": "two"}})
    Share("proxy", "default").carry_out(store)

    assert store.get(CONFIG_MAP, Key("proxy", "default"))["data"] == {"ca.crt": "two"}


def test_what_somebody_has_under_that_name_stays(store: Objects) -> None:
    store.create(NAMESPACE, builders.namespace("cdi"))
    store.create(CONFIG_MAP, proxy_map("cdi", "one"))
    store.create(CONFIG_MAP, proxy_map("default", "mine"))
    Share("proxy", "default").carry_out(store)

    assert store.get(CONFIG_MAP, Key("proxy", "default"))["data"] == {"ca.crt": "mine"}


def test_settings_are_read_from_both_objects(store: Objects) -> None:
    store.create(CDI, builders.some(CDI, "cdi", spec={"workload": SPREAD}))
    store.create(CDI_CONFIG, builders.some(CDI_CONFIG, "config", spec={"featureGates": [cdi.WAIT_GATE]}))

    found = settings(store)

    assert (found.placement, found.honours_waiting) == (SPREAD, True)
    assert settings(store).pod_spec == SPREAD
