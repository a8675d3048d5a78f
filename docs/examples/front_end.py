"""What another front end does with guests: make one, follow it, read what it uses, stop it, take it away.

KUBECONFIG=/var/lib/diskyard/kubeconfig python docs/examples/front_end.py https://example.com/server.qcow2
"""

import base64
import json
import os
import sys
import tempfile
from pathlib import Path

import requests
import yaml

MACHINES = "/apis/kubevirt.io/v1/namespaces/default/virtualmachines"
VERBS = "/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachines"
NAME = "front-end"


def machine(url: str) -> dict[str, object]:
    """A machine with a disk of its own, which is filled from the URL and goes when the machine goes."""
    disk = {
        "metadata": {"name": NAME},
        "spec": {
            "source": {"http": {"url": url}},
            "storage": {"resources": {"requests": {"storage": "1Gi"}}},
        },
    }
    guest = {
        "domain": {
            "devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}]},
            "memory": {"guest": "256Mi"},
        },
        "volumes": [{"name": "root", "dataVolume": {"name": NAME}}],
    }
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": NAME},
        "spec": {"runStrategy": "Always", "dataVolumeTemplates": [disk], "template": {"spec": guest}},
    }


def session(kubeconfig: Path, folder: Path) -> tuple[requests.Session, str]:
    """Who we are, and where the server is."""
    said = yaml.safe_load(kubeconfig.read_text())
    cluster, user = said["clusters"][0]["cluster"], said["users"][0]["user"]
    authority = folder / "ca.crt"
    authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    found = requests.Session()
    found.trust_env, found.verify = False, str(authority)
    found.headers["Authorization"] = f"Bearer {user['token']}"
    return found, cluster["server"]


def main(url: str) -> None:
    """One guest's life."""
    with tempfile.TemporaryDirectory() as folder:
        api, server = session(Path(os.environ["KUBECONFIG"]), Path(folder))
        api.post(server + MACHINES, json=machine(url)).raise_for_status()

        following = {"watch": "true", "fieldSelector": f"metadata.name={NAME}"}
        with api.get(server + MACHINES, params=following, stream=True) as changes:
            for line in changes.iter_lines():
                state = json.loads(line)["object"].get("status", {}).get("printableStatus")
                print("machine:", state)
                if state == "Running":
                    break

        figures = api.get(f"{server}/metrics").text
        print(*(line for line in figures.splitlines() if f'name="{NAME}"' in line), sep="\n")

        api.put(f"{server}{VERBS}/{NAME}/stop", json={"gracePeriod": 0}).raise_for_status()
        api.delete(f"{server}{MACHINES}/{NAME}").raise_for_status()


if __name__ == "__main__":
    main(sys.argv[1])
