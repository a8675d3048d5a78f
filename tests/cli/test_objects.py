"""apply, get, delete and logs over a real server: kubectl's words, from a machine that has no kubectl."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cli.__main__ import door
from diskyard.api.meta import DATA_VOLUME, POD, Key
from diskyard.api.names import kubevirt
from diskyard.errors import InvalidRequest, NotFound
from tests import builders
from tests.cli.conftest import Diskyard, Served

DISK = """\
apiVersion: cdi.kubevirt.io/v1beta1
kind: DataVolume
metadata: {name: NAME}
spec:
  source: {http: {url: "http://images.example/disk.qcow2"}}
  storage: {resources: {requests: {storage: 1Gi}}}
"""
OLD_DISK = DISK.replace("v1beta1", "v1alpha1").replace(
    "storage: {resources", "pvc: {accessModes: [ReadWriteOnce], resources"
)
DISKYARD = Path(sys.executable).with_name("diskyard")
WATCHED = {"name": "watched", "namespace": "kubevirt"}


def disk(name: str) -> str:
    return DISK.replace("NAME", name)


def test_apply_says_created_then_unchanged_then_configured(diskyard: Diskyard, tmp_path: Path) -> None:
    file = tmp_path / "disk.yaml"
    file.write_text(disk("one"))
    said = [diskyard("apply", "-f", str(file)).stdout, diskyard("apply", "-f", str(file)).stdout]
    file.write_text(disk("one").replace("{name: one}", "{name: one, labels: {of: tests}}"))
    said.append(diskyard("apply", "-f", str(file)).stdout)

    title = "datavolume.cdi.kubevirt.io/one"
    assert said == [f"{title} created\n", f"{title} unchanged\n", f"{title} configured\n"]


def test_apply_takes_many_documents_from_standard_input(diskyard: Diskyard) -> None:
    done = diskyard("apply", "-f", "-", given=disk("two") + "---\n" + disk("three") + "---\n")

    assert done.stdout.count(" created\n") == 2


def test_apply_takes_manifests_of_old_versions(diskyard: Diskyard, served: Served) -> None:
    done = diskyard("apply", "-f", "-", given=OLD_DISK.replace("NAME", "old"))

    assert done.exit_code == 0, done.output
    assert served.objects.get(DATA_VOLUME, Key("old", "default"))


def test_an_object_that_is_refused_does_not_stop_the_others(diskyard: Diskyard) -> None:
    done = diskyard("apply", "-f", "-", given=disk("Not_A_Name") + "---\n" + disk("four"))

    assert done.exit_code == 1
    assert "Not_A_Name" in done.stderr
    assert "datavolume.cdi.kubevirt.io/four created" in done.stdout


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "standard input is not YAML: line 1, column 2: expected the node content"),
        ("a: b\n c: d", "standard input is not YAML: line 2, column 3: mapping values are not allowed here"),
        ("just words", "document 1: expected an object"),
        ("kind: DataVolume\napiVersion: cdi.kubevirt.io/v1beta1", "document 1: metadata.name is missing"),
        ("kind: Disk\napiVersion: v1\nmetadata: {name: a}", "no kind 'Disk' in 'v1'"),
        (
            "kind: DataVolume\napiVersion: v1\nmetadata: {name: a}",
            "there is DataVolume in cdi.kubevirt.io/v1beta1",
        ),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_whole(diskyard: Diskyard, text: str, complaint: str) -> None:
    done = diskyard("apply", "-f", "-", given=text)

    assert isinstance(done.exception, InvalidRequest)
    assert complaint in str(done.exception)


def test_get_prints_the_columns_of_the_crd(diskyard: Diskyard) -> None:
    diskyard("apply", "-f", "-", given=disk("five"))

    heading, row = diskyard("get", "dv", "five").stdout.splitlines()

    assert heading.split() == ["NAME", "PHASE", "PROGRESS", "RESTARTS", "AGE"]
    assert row.startswith("five")
    assert heading.index("AGE") == len(row) - len(row.split()[-1])


def test_get_of_several_kinds_and_namespaces_tells_them_apart(diskyard: Diskyard) -> None:
    said = diskyard("get", "dv,kubevirt", "-A").stdout

    assert "NAMESPACE" in said
    assert "kubevirt.kubevirt.io/kubevirt" in said


@pytest.mark.parametrize("output", ["yaml", "json"])
def test_get_prints_the_object_as_it_is(diskyard: Diskyard, served: Served, output: str) -> None:
    diskyard("apply", "-f", "-", given=disk("six"))

    said = diskyard("get", "dv/six", "-o", output).stdout

    read = json.loads(said) if output == "json" else yaml.safe_load(said)
    assert read == served.objects.get(DATA_VOLUME, Key("six", "default"))


def test_get_by_name_of_what_is_not_there_says_so(diskyard: Diskyard) -> None:
    done = diskyard("get", "dv", "never-made")

    assert isinstance(done.exception, NotFound)
    assert str(done.exception) == 'datavolumes.cdi.kubevirt.io "never-made" not found'


def test_get_of_nothing_says_that_there_is_nothing(diskyard: Diskyard) -> None:
    assert diskyard("get", "pods", "-n", "kubevirt").stderr == "No resources found in kubevirt namespace.\n"


def test_an_unknown_kind_names_those_there_are(diskyard: Diskyard) -> None:
    done = diskyard("get", "disks")

    assert "no kind is called 'disks'; expected one of ns, " in str(done.exception)


def test_delete_takes_what_a_file_says(diskyard: Diskyard, served: Served, tmp_path: Path) -> None:
    file = tmp_path / "disk.yaml"
    file.write_text(disk("seven"))
    diskyard("apply", "-f", str(file))

    done = diskyard("delete", "-f", str(file))

    assert done.stdout == 'datavolume.cdi.kubevirt.io "seven" deleted\n'
    with pytest.raises(NotFound):
        served.objects.get(DATA_VOLUME, Key("seven", "default"))


@pytest.mark.parametrize("arguments", [(), ("dv", "x", "-f", "file")])
def test_delete_wants_either_names_or_a_file(diskyard: Diskyard, arguments: tuple[str, ...]) -> None:
    assert diskyard("delete", *arguments).exit_code == 2


def test_logs_of_a_machine_are_those_of_its_newest_launcher(diskyard: Diskyard, served: Served) -> None:
    labels = {kubevirt.APP_LABEL: kubevirt.LAUNCHER, kubevirt.VM_LABEL: "guest"}
    pod = builders.pod("virt-launcher-guest-abcde")
    pod["metadata"]["labels"] = labels
    served.objects.create(POD, pod)

    assert diskyard("logs", "vm/guest").stdout == "words of virt-launcher-guest-abcde\n"


def test_logs_of_a_machine_that_is_not_there_says_so(diskyard: Diskyard) -> None:
    assert 'virtualmachines.kubevirt.io "nobody" not found' in str(diskyard("logs", "vm/nobody").exception)


def test_logs_of_an_import_that_does_not_run_say_how_it_stands(diskyard: Diskyard) -> None:
    diskyard("apply", "-f", "-", given=disk("eight"))

    assert "'eight' (Pending) has no importer now" in str(diskyard("logs", "dv/eight").exception)


def test_watch_goes_on_showing_changes(served: Served) -> None:
    command = [DISKYARD, "get", "dv", "-w", "-n", "kubevirt", "--kubeconfig", served.kubeconfig]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        assert watching.stderr.readline().startswith("No resources found")
        served.objects.create(DATA_VOLUME, builders.data_volume("watched") | {"metadata": WATCHED})
        heading, row = watching.stdout.readline(), watching.stdout.readline()
        watching.send_signal(signal.SIGINT)

        assert (heading.split()[0], row.split()[0]) == ("NAME", "watched")
        assert watching.wait() == 130


def test_without_a_yard_the_message_says_how_to_start_one(tmp_path: Path) -> None:
    nowhere = {"DISKYARD_DATA_DIR": str(tmp_path), "KUBECONFIG": ""}

    done = CliRunner(env=nowhere).invoke(door, ["get", "dv"])

    assert f"expected {tmp_path}/kubeconfig. Start one by `diskyard up`" in str(done.exception)
