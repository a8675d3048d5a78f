"""Uploads into a volume that somebody made by hand, in a folder that holds something already."""

import os
from pathlib import Path

from tests.flows.test_upload import uploaded
from tests.flows.yard import running

VOLUME = {
    "metadata": {"name": "iso-win10", "labels": {"type": "local"}},
    "spec": {
        "storageClassName": "manual",
        "capacity": {"storage": "40Gi"},
        "accessModes": ["ReadWriteOnce"],
    },
}


def test_an_earlier_disk_is_replaced_and_what_is_not_ours_is_named_and_left(tmp_path: Path) -> None:
    windows, image = tmp_path / "srv" / "windows", tmp_path / "new.img"
    windows.mkdir(parents=True)
    for parent in (tmp_path, windows.parent, windows):
        parent.chmod(0o755)
    (windows / "disk.img").write_bytes(b"earlier" * 100_000)
    (windows / "letters.txt").write_text("dear reader\n")
    image.write_bytes(os.urandom(10 << 20))
    with running(tmp_path / "yard", "--allow-host-path", str(windows.parent)) as yard:
        yard.core().create_persistent_volume(
            {**VOLUME, "spec": {**VOLUME["spec"], "hostPath": {"path": str(windows)}}}
        )

        done = uploaded(
            yard,
            "pvc",
            "iso-win10",
            f"--image-path={image}",
            "--size=64Mi",
            "--storage-class=manual",
            "--insecure",
        )

        assert done.returncode == 0, done.stderr
        yard.told("iso-win10", f"{windows} holds letters.txt", 60)
    assert (windows / "disk.img").stat().st_size == 64 << 20
    with (windows / "disk.img").open("rb") as disk:
        assert disk.read(10 << 20) == image.read_bytes()
    assert (windows / "letters.txt").read_text() == "dear reader\n"
