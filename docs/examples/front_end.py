"""What another front end does with guests: make one, follow it, read what it uses, stop it, take it away.

KUBECONFIG=/var/lib/diskyard/kubeconfig python docs/examples/front_end.py https://example.com/server.qcow2
"""

import sys

from kubernetes import client, config, watch

KUBEVIRT = {"group": "kubevirt.io", "version": "v1", "namespace": "default"}
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


def main(url: str) -> None:
    """One guest's life."""
    config.load_kube_config()
    api, objects = client.ApiClient(), client.CustomObjectsApi()

    objects.create_namespaced_custom_object(**KUBEVIRT, plural="virtualmachines", body=machine(url))
    for event in watch.Watch().stream(
        objects.list_namespaced_custom_object,
        **KUBEVIRT,
        plural="virtualmachines",
        field_selector=f"metadata.name={NAME}",
    ):
        state = event["object"].get("status", {}).get("printableStatus")
        print("machine:", state)
        if state == "Running":
            break

    figures = api.call_api("/metrics", "GET", auth_settings=["BearerToken"], response_type="str")[0]
    print(*(line for line in figures.splitlines() if f'name="{NAME}"' in line), sep="\n")

    verbs = f"/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachines/{NAME}"
    api.call_api(f"{verbs}/stop", "PUT", auth_settings=["BearerToken"], body={"gracePeriod": 0})
    objects.delete_namespaced_custom_object(**KUBEVIRT, plural="virtualmachines", name=NAME)


if __name__ == "__main__":
    main(sys.argv[1])
