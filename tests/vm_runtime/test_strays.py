"""What an emulator has and its libvirt does not know of. With both of them: tests/vm_runtime/test_plugs.py."""

from vm_runtime.launcher import strays

DOMAIN = """
<domain><devices>
  <disk type='file'><alias name='ua-root'/><source file='/a' index='1'/></disk>
  <disk type='file'><alias name='ua-over'/><source file='/b' index='2'/>
    <backingStore type='file'><source file='/c' index='3'/></backingStore></disk>
  <interface><alias name='ua-net'/></interface>
</devices></domain>
"""


def test_a_device_that_the_domain_has_not_is_a_stray_and_the_emulators_own_are_none() -> None:
    there = [{"name": name} for name in ("type", "ua-root", "ua-over", "ua-net", "ua-more", "pci.1", "scsi0")]

    assert strays.devices(DOMAIN, there) == ["ua-more"]


def test_what_lies_behind_a_stray_goes_from_the_top_and_what_lies_behind_disks_stays() -> None:
    numbers = (4, 3, 2, 1)
    there = [{"node-name": f"libvirt-{each}-{part}"} for each in numbers for part in ("storage", "format")]

    found = strays.nodes(
        DOMAIN, [*there, {"node-name": "libvirt-pflash0-storage"}, {"node-name": "#block1"}, {}]
    )

    assert found == ["libvirt-4-format", "libvirt-4-storage"]
