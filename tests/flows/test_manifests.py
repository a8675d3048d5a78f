"""Manifests as guides and examples have them, applied as they are."""

import yaml

from diskyard.kube.http import connect
from tests.flows.yard import Yard
from tests.imageserver import ImageServer
from tests.vm_runtime.bootsector import Then, disk

ALPINE = """
apiVersion: kubevirt.io/v1alpha3
kind: VirtualMachine
metadata: {name: vm-dv, labels: {kubevirt.io/vm: vm-dv}}
spec:
  dataVolumeTemplates:
  - metadata: {creationTimestamp: null, name: alpine-dv}
    spec:
      pvc:
        accessModes: [ReadWriteOnce]
        resources: {requests: {storage: 2Gi}}
        storageClassName: local
      source: {http: {url: URL}}
  running: false
  template:
    metadata: {labels: {kubevirt.io/vm: vm-dv}}
    spec:
      domain:
        devices: {disks: [{name: datavolumedisk1, disk: {bus: virtio}}]}
        machine: {type: ""}
        resources: {requests: {memory: 64M}}
      terminationGracePeriodSeconds: 0
      volumes: [{name: datavolumedisk1, dataVolume: {name: alpine-dv}}]
"""
"""vm-alpine-datavolume.yaml of KubeVirt 0.36."""


def test_kubevirts_old_example_fills_its_claim_while_it_is_stopped_and_boots_when_it_is_started(
    yard: Yard, images: ImageServer
) -> None:
    (images.root / "alpine.iso").write_bytes(disk("Alpine, as it were", Then.BUTTON))
    yard.create(yaml.safe_load(ALPINE.replace("URL", images.url("alpine.iso"))))

    yard.wait("datavolumes", "alpine-dv", "Succeeded")
    stopped = yard.until(
        "virtualmachines", "vm-dv", lambda vm: vm["status"].get("printableStatus") == "Stopped"
    )

    assert stopped["status"].get("created") is not True
    client = connect(yard.kubeconfig)
    door = "/apis/subresources.kubevirt.io/v1alpha3/namespaces/default/virtualmachines/vm-dv/start"
    client.order(door, {})
    client.close()
    yard.console_says("vm-dv", "Alpine, as it were", 120)
    yard.delete("virtualmachines", "vm-dv")
    yard.gone("virtualmachines", "vm-dv")
