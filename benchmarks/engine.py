"""`diskyard import` against the public tools that do the same: ratios of one run on one machine, and the goals.

python benchmarks/engine.py [--rounds N] [--small] [--only CASE,...] [--json FILE]

Measured is the whole process: its start, the answer to its first request, and the fsync at its end. Tools take turns
within a round; the ratio is the median of each round's.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from cases import CASES, Case
from crowd import crowd
from images import CACHE, Shelf
from peers import PEERS
from runner import OURS, Run, check, emptied, environment, imported, peer, run
from servers import Servers, servers

ROUNDS: Final = 3
ONCE: Final = 60
"""Seconds after which a tool that is run once is ended."""
MIB: Final = 1 << 20


@dataclass
class Outcome:
    """All runs of a case: tool -> its runs, round by round."""

    case: Case
    small: bool
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def ratio(self, tool: str) -> float:
        """How many times longer a tool takes than we do."""
        return median(
            other.wall / mine.wall for mine, other in zip(self.runs[OURS], self.runs[tool], strict=False)
        )


def measure(case: Case, house: Servers, rounds: int) -> Outcome:
    outcome = Outcome(case, house.shelf.small)
    tools = [OURS, *(tool for tool in (*case.goals, *case.once) if _able(tool))]
    home, form = house.home(case.door, case.image), _form(case.image)
    for index in range(rounds):
        for tool in tools:
            if index and tool in case.once:
                continue
            folder = emptied(CACHE / "work")
            env = environment(home, form, folder)
            command = imported(home, folder / "disk.img") if tool == OURS else peer(PEERS[tool].script)
            before = house.requests()
            done = run(command, folder, env, *([ONCE] if tool in case.once else []))
            done = replace(done, requests=house.requests() - before)
            if done.code:
                words = (folder / "output").read_text().strip()[-300:]
                print(
                    f"{case.name}: {tool} ended with {done.code} after {done.wall:.1f} s: {words}",
                    file=sys.stderr,
                )
            elif not index and (tool == OURS or PEERS[tool].writes):
                check(folder / "disk.img", house.shelf.oracle(case.image))
            if not done.code or tool == OURS:
                outcome.runs.setdefault(tool, []).append(done)
    emptied(CACHE / "work")
    return outcome


def _able(tool: str) -> bool:
    if missing := PEERS[tool].missing():
        print(f"skipped: {tool}, for want of {', '.join(missing)}", file=sys.stderr)
    return not missing


def _form(image: str) -> str:
    """What qemu-img calls the format of an image of ours."""
    return "vmdk" if image.endswith(".vmdk") else "raw" if image.startswith("disk.raw") else "qcow2"


def show(outcome: Outcome) -> None:
    case = outcome.case
    print(f"\n{case.title}  [{case.name}{', small' if outcome.small else ''}]")
    for tool, runs in outcome.runs.items():
        walls = [each.wall for each in runs]
        words = [
            f"{median(walls):.2f} s",
            f"{min(walls):.1f}..{max(walls):.1f}",
            f"{median(r.cpu for r in runs):.2f}",
        ]
        words += [
            f"{max(getattr(each, what) for each in runs) / MIB:.0f}" for what in ("resident", "scratch")
        ]
        words += [str(runs[-1].requests)]
        goal = case.goals.get(tool)
        last = "" if tool == OURS else f"{outcome.ratio(tool):8.2f}x  " + verdict(goal, outcome.ratio(tool))
        _row(tool, words, last)
    for met, words in bounds(outcome):
        print(f"  {words}: {'met' if met else 'MISSED'}")
    sys.stdout.flush()


def verdict(goal: float | None, ratio: float) -> str:
    return "" if goal is None else f">= {goal:.2f}x: {'met' if ratio >= goal else 'MISSED'}"


def bounds(outcome: Outcome) -> Iterator[tuple[bool, str]]:
    """What holds for our runs, whoever the peers are."""
    ours = outcome.runs[OURS]
    resident, scratch = (max(getattr(each, what) for each in ours) / MIB for what in ("resident", "scratch"))
    yield not any(each.code for each in ours), "every run ended well"
    yield resident <= outcome.case.memory, f"resident {resident:.0f} <= {outcome.case.memory} MiB"
    yield scratch < 1, f"scratch {scratch:.1f} MiB, 0 but for the journal"


def _row(name: str, words: Iterable[str], last: str) -> None:
    print(f"  {name:<34}" + "".join(f"{word:>12}" for word in words) + f"  {last}".rstrip())


def main(arguments: list[str]) -> None:
    asked = _parser().parse_args(arguments)
    wanted = asked.only.split(",") if asked.only else [*(case.name for case in CASES), "crowd"]
    if unknown := set(wanted) - {case.name for case in CASES} - {"crowd"}:
        raise SystemExit(f"expected cases among {[case.name for case in CASES]}, found {sorted(unknown)}")
    print(
        f"medians of {asked.rounds} rounds, {time.strftime('%Y-%m-%d')}; MiB; ratio: the tool's wall over ours"
    )
    _row("", ("wall", "min..max", "CPU s", "resident", "scratch", "requests"), "   ratio")
    found: list[dict[str, Any]] = []
    found += [_measured(case, asked) for case in CASES if case.name in wanted]
    if "crowd" in wanted:
        with tempfile.TemporaryDirectory() as folder, servers(Shelf(small=True), Path(folder)) as house:
            found.append({"case": "crowd", "throughput": crowd(house, asked.rounds)})
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


def _measured(case: Case, asked: argparse.Namespace) -> dict[str, Any]:
    """One case with servers of its own: none of them is still warm, or still large, from another."""
    with (
        tempfile.TemporaryDirectory() as folder,
        servers(Shelf(asked.small or case.small), Path(folder)) as house,
    ):
        outcome = measure(case, house, asked.rounds)
    show(outcome)
    ratios = {tool: outcome.ratio(tool) for tool in outcome.runs if tool != OURS}
    runs = {tool: [asdict(each) for each in runs] for tool, runs in outcome.runs.items()}
    return {
        "case": case.name,
        "small": outcome.small,
        "goals": dict(case.goals),
        "ratios": ratios,
        "runs": runs,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The import engine against its peers.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--small", action="store_true", help="a disk of 0.5 GiB: quick, and kinder to the peers"
    )
    parser.add_argument("--only", default="", metavar="CASE,...", help="names of cases.py, and `crowd`")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run there")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
