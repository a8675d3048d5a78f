"""What Prometheus is told of guests: KubeVirt's names and labels, from libvirt's figures."""

from prometheus_client import CollectorRegistry, generate_latest

from diskyard.errors import Passing
from vm_runtime.agent.figures import Figures, Guest, Stats

STATS: Stats = {
    "cpu.time": 2_500_000_000,
    "balloon.maximum": 262144,
    "block.count": 1,
    "block.0.name": "vda",
    "block.0.alias": "root",
    "block.0.rd.bytes": 4096,
    "block.0.fl.times": 3_000_000,
    "net.count": 1,
    "net.0.name": "tap0",
    "net.0.rx.bytes": 77,
    "vcpu.maximum": 2,
    "vcpu.0.state": 1,
    "vcpu.0.time": 1_000_000_000,
}


def page(ask: dict[str, Stats]) -> list[str]:
    def asked(pod: str) -> Stats:
        if pod not in ask:
            raise Passing("the guest's launcher does not answer")
        return ask[pod]

    registry = CollectorRegistry()
    registry.register(
        Figures(lambda: [Guest("n", "default", "web", "u-1"), Guest("n", "default", "db", "u-2")], asked)
    )
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_each_figure_has_kubevirts_name_unit_and_labels() -> None:
    whose = 'name="web",namespace="default",node="n"'

    assert page({"u-1": STATS}) == [
        f"kubevirt_vmi_cpu_usage_seconds_total{{{whose}}} 2.5",
        f"kubevirt_vmi_memory_domain_bytes{{{whose}}} 2.68435456e+08",
        f'kubevirt_vmi_storage_read_traffic_bytes_total{{drive="root",{whose}}} 4096.0',
        f'kubevirt_vmi_storage_flush_times_seconds_total{{drive="root",{whose}}} 0.003',
        f'kubevirt_vmi_network_receive_bytes_total{{interface="tap0",{whose}}} 77.0',
        f'kubevirt_vmi_vcpu_seconds_total{{id="0",{whose},state="running"}} 1.0',
    ]


def test_a_guest_that_does_not_answer_takes_nothing_from_the_others() -> None:
    assert {line.partition("{")[0] for line in page({"u-2": {"cpu.time": 1}})} == {
        "kubevirt_vmi_cpu_usage_seconds_total"
    }
    assert page({}) == []
