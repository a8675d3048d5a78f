"""What the guests of this node use, for Prometheus, under KubeVirt's names, from what libvirt counts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from diskyard.errors import DiskyardError

Stats = Mapping[str, int | str]
"""virDomainListGetStats' names: https://libvirt.org/html/libvirt-libvirt-domain.html#virConnectGetAllDomainStats."""

ASKED_AT_ONCE: Final = 8
_NANO: Final = 1e-9
_KIB: Final = 1024.0
_STATES: Final = {0: "offline", 1: "running", 2: "blocked"}
"""virVcpuState, as KubeVirt's label `state` says it."""


@dataclass(frozen=True)
class Figure:
    """One metric: its name after `kubevirt_vmi_`, where libvirt has it, what one of libvirt's is."""

    name: str
    field: str
    told: str
    factor: float = 1
    gauge: bool = False


GUEST: Final = (
    Figure("cpu_usage_seconds_total", "cpu.time", "Processor time of the guest and its emulator", _NANO),
    Figure("cpu_user_usage_seconds_total", "cpu.user", "Of it, in user mode", _NANO),
    Figure("cpu_system_usage_seconds_total", "cpu.system", "Of it, in the kernel", _NANO),
    Figure("memory_domain_bytes", "balloon.maximum", "Memory that the guest was given", _KIB, gauge=True),
    Figure(
        "memory_actual_balloon_bytes",
        "balloon.current",
        "Memory that its balloon leaves it",
        _KIB,
        gauge=True,
    ),
    Figure(
        "memory_resident_bytes", "balloon.rss", "Memory of the host that its emulator holds", _KIB, gauge=True
    ),
    Figure("memory_available_bytes", "balloon.available", "Memory that its system manages", _KIB, gauge=True),
    Figure(
        "memory_usable_bytes", "balloon.usable", "Of it, what its system could give away", _KIB, gauge=True
    ),
    Figure("memory_unused_bytes", "balloon.unused", "Of it, what nothing is kept in", _KIB, gauge=True),
    Figure(
        "memory_cached_bytes", "balloon.disk_caches", "Of it, what holds copies of disks", _KIB, gauge=True
    ),
    Figure("memory_swap_in_traffic_bytes", "balloon.swap_in", "Read from its swap space", _KIB, gauge=True),
    Figure(
        "memory_swap_out_traffic_bytes", "balloon.swap_out", "Written to its swap space", _KIB, gauge=True
    ),
    Figure("memory_pgmajfault_total", "balloon.major_fault", "Page faults that needed a disk"),
    Figure("memory_pgminfault_total", "balloon.minor_fault", "Page faults that needed none"),
)
DRIVE: Final = (
    Figure("storage_read_traffic_bytes_total", "rd.bytes", "Bytes that the guest has read"),
    Figure("storage_write_traffic_bytes_total", "wr.bytes", "Bytes that the guest has written"),
    Figure("storage_iops_read_total", "rd.reqs", "Reads"),
    Figure("storage_iops_write_total", "wr.reqs", "Writes"),
    Figure("storage_flush_requests_total", "fl.reqs", "Flushes"),
    Figure("storage_read_times_seconds_total", "rd.times", "Time that reads took", _NANO),
    Figure("storage_write_times_seconds_total", "wr.times", "Time that writes took", _NANO),
    Figure("storage_flush_times_seconds_total", "fl.times", "Time that flushes took", _NANO),
)
INTERFACE: Final = (
    Figure("network_receive_bytes_total", "rx.bytes", "Bytes that came to the guest"),
    Figure("network_transmit_bytes_total", "tx.bytes", "Bytes that the guest has sent"),
    Figure("network_receive_packets_total", "rx.pkts", "Packets that came to the guest"),
    Figure("network_transmit_packets_total", "tx.pkts", "Packets that the guest has sent"),
    Figure("network_receive_errors_total", "rx.errs", "Packets that came damaged"),
    Figure("network_transmit_errors_total", "tx.errs", "Packets that could not be sent"),
    Figure("network_receive_packets_dropped_total", "rx.drop", "Packets for the guest that were dropped"),
    Figure("network_transmit_packets_dropped_total", "tx.drop", "Packets of the guest that were dropped"),
)
PROCESSOR: Final = (
    Figure("vcpu_seconds_total", "time", "Time of one virtual processor, by its present state", _NANO),
    Figure("vcpu_wait_seconds_total", "wait", "Time that it waited for input or output", _NANO),
    Figure("vcpu_delay_seconds_total", "delay", "Time that it waited for a processor of the host", _NANO),
)


@dataclass(frozen=True)
class Guest:
    """Whose figures they are."""

    node: str
    namespace: str
    name: str
    pod: str
    """The uid of its launcher's pod."""


class Figures(Collector):
    """Asks every guest at once, whenever somebody asks; one that does not answer is left out."""

    def __init__(self, guests: Callable[[], Iterable[Guest]], ask: Callable[[str], Stats]) -> None:
        """`ask`: libvirt's figures of the guest in the pod with that uid; raises DiskyardError."""
        self._guests = guests
        self._ask = ask

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering asks nobody."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Each metric with its samples."""
        guests = list(self._guests())
        with ThreadPoolExecutor(ASKED_AT_ONCE, "figures") as pool:
            answers = list(pool.map(self._asked, guests))
        return families([(guest, stats) for guest, stats in zip(guests, answers, strict=True) if stats])

    def _asked(self, guest: Guest) -> Stats:
        try:
            return self._ask(guest.pod)
        except DiskyardError:
            return {}


def families(counted: Sequence[tuple[Guest, Stats]]) -> Iterator[Metric]:
    """The metrics of these guests. Pure."""
    for figure in GUEST:
        yield _family(figure, (), (((), guest, stats, figure.field) for guest, stats in counted))
    for figures, place, label in ((DRIVE, "block", "drive"), (INTERFACE, "net", "interface")):
        for figure in figures:
            yield _family(figure, (label,), _parts(counted, place, figure))
    for figure in PROCESSOR:
        yield _family(figure, ("id", "state"), _processors(counted, figure))


Sample = tuple[tuple[str, ...], Guest, Stats, str]
"""Further labels, whose it is, and which of libvirt's figures."""


def _parts(counted: Sequence[tuple[Guest, Stats]], place: str, figure: Figure) -> Iterator[Sample]:
    for guest, stats in counted:
        for number in range(int(stats.get(f"{place}.count", 0))):
            name = stats.get(f"{place}.{number}.alias") or stats.get(f"{place}.{number}.name") or number
            yield (str(name),), guest, stats, f"{place}.{number}.{figure.field}"


def _processors(counted: Sequence[tuple[Guest, Stats]], figure: Figure) -> Iterator[Sample]:
    for guest, stats in counted:
        for number in range(int(stats.get("vcpu.maximum", 0))):
            state = _STATES.get(int(stats.get(f"vcpu.{number}.state", 0)), "")
            yield (str(number), state), guest, stats, f"vcpu.{number}.{figure.field}"


def _family(figure: Figure, labels: tuple[str, ...], samples: Iterable[Sample]) -> Metric:
    kind = GaugeMetricFamily if figure.gauge else CounterMetricFamily
    found = kind(f"kubevirt_vmi_{figure.name}", figure.told, labels=("node", "namespace", "name", *labels))
    for further, guest, stats, field in samples:
        if field in stats:
            whose = (guest.node, guest.namespace, guest.name)
            found.add_metric((*whose, *further), float(stats[field]) * figure.factor)
    return found
