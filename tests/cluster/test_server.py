"""The real control plane is one: what other tests rely on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, NAMESPACE, SERVICE_ACCOUNT, Key
from diskyard.errors import Forbidden
from diskyard.kube.client import Selection
from diskyard.kube.http import connect
from tests import builders
from tests.builders import eventually
from tests.cluster import programs
from tests.cluster.server import STRANGER, Cluster

pytestmark = pytest.mark.cluster


def test_it_is_the_version_that_go_mod_asks_for(real: Cluster) -> None:
    command = [programs.folder() / "kubectl", "--kubeconfig", real.kubeconfig, "version", "-o", "json"]
    said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    assert said["serverVersion"]["gitVersion"] == said["clientVersion"]["gitVersion"] == programs.version()


def test_its_controllers_work(real: Cluster) -> None:
    real.client.create(NAMESPACE, builders.namespace("worked"))
    eventually(lambda: real.client.list(SERVICE_ACCOUNT, Selection("worked")).items, 60)
    real.client.create(CONFIG_MAP, builders.some(CONFIG_MAP, "one", "worked"))

    real.client.delete(NAMESPACE, Key("worked"))

    def gone() -> bool:
        return "worked" not in {meta.name(one) for one in real.client.list(NAMESPACE).items}

    eventually(gone, 60)


def test_who_has_no_rights_gets_nothing(real: Cluster) -> None:
    client = connect(real.kubeconfig_for(STRANGER))

    with pytest.raises(Forbidden, match='User "stranger" cannot list resource "configmaps"'):
        client.list(CONFIG_MAP)

    client.close()


def test_no_module_proxy_is_said_plainly(tmp_path: Path) -> None:
    nowhere = {"GOPROXY": "http://127.0.0.1:1", "GOMODCACHE": str(tmp_path / "modules"), "GOFLAGS": ""}
    env = {**os.environ, **nowhere, "XDG_CACHE_HOME": str(tmp_path / "cache")}

    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.programs"], env=env, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "Go modules cannot be fetched" in done.stderr
    assert "GOPROXY" in done.stderr
    assert "Traceback" not in done.stderr
