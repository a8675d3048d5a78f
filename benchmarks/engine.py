"""`diskyard import` against the public tools that do the same: ratios of one run on one machine, and the goals.

python benchmarks/engine.py [--rounds N] [--small] [--goals] [--only CASE,...] [--json FILE]

Measured is the whole process: its start, the answer to its first request, and the fsync at its end. Tools take turns
within a round; the ratio is the median of each round's.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import disks
from cases import CASES, Case
from crowd import crowd
from images import CACHE, Shelf
from peers import PEERS
from runner import OURS, Run, check, emptied, environment, imported, peer, run, settle
from servers import Servers, servers

ROUNDS: Final = 3
ONCE: Final = 20
"""Seconds after which a tool that is run once is ended."""
MIB: Final = 1 << 20
CROWD: Final = "crowd"
KNOWN: Final = (*CASES, CROWD)


@dataclass
class Outcome:
    """All runs of a case: tool -> its runs, round by round."""

    case: Case
    small: bool
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def ratio(self, tool: str, cost: Callable[[Run], float] = lambda run: run.wall) -> float:
        """How many times more of a cost a tool has than we: the median of the rounds."""
        pairs = [pair for pair in zip(self.runs[OURS], self.runs[tool], strict=False) if not pair[1].code]
        return float(median(cost(other) / cost(mine) for mine, other in pairs))


def measure(case: Case, house: Servers, rounds: int, work: Path) -> Outcome:
    """Every tool of a case in turn, round by round, in a folder that is emptied for each."""
    outcome = Outcome(case, house.shelf.small)
    tools = [OURS, *(tool for tool in (*case.goals, *case.once) if _able(tool))]
    home, form = house.home(case.door, case.image), _form(case.image)
    for index in range(rounds):
        for tool in tools:
            if index and tool in case.once:
                continue
            folder = emptied(work / "work")
            env = environment(home, form, folder)
            command = imported(home, folder / "disk.img") if tool == OURS else peer(PEERS[tool].script)
            settle(house.served(case.door, case.image))
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
            outcome.runs.setdefault(tool, []).append(done)
    emptied(work / "work")
    ended = {
        tool: runs for tool, runs in outcome.runs.items() if tool == OURS or not all(r.code for r in runs)
    }
    return replace(outcome, runs=ended)


def _possible(name: str) -> bool:
    missing = disks.missing() if name in CASES and CASES[name].disk else ""
    if missing:
        print(f"skipped: {name}, for want of {missing}", file=sys.stderr)
    return not missing


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
        _row(tool, _costs(runs), "" if tool == OURS else _compared(outcome, tool))
    for met, words in bounds(outcome):
        print(f"  {words}: {'met' if met else 'MISSED'}")
    sys.stdout.flush()


def _costs(runs: list[Run]) -> list[str]:
    walls = [each.wall for each in runs]
    resident, scratch = max(each.resident for each in runs), max(each.scratch for each in runs)
    return [
        f"{median(walls):.2f} s", f"{min(walls):.1f}..{max(walls):.1f}", f"{median(run.cpu for run in runs):.2f} s",
        f"{resident / MIB:.0f}", f"{scratch / MIB:.0f}", str(runs[-1].requests),
    ]  # fmt: skip


def _compared(outcome: Outcome, tool: str) -> str:
    ratio, goal = outcome.ratio(tool), outcome.case.goals.get(tool)
    words = f"{ratio:6.2f}x {outcome.ratio(tool, lambda run: run.cpu):6.2f}x"
    return words if goal is None else f"{words}  >= {goal:.2f}x: {'met' if ratio >= goal else 'MISSED'}"


def bounds(outcome: Outcome) -> Iterator[tuple[bool, str]]:
    """What holds for our runs, whoever the peers are."""
    ours = outcome.runs[OURS]
    resident, scratch = max(each.resident for each in ours) / MIB, max(each.scratch for each in ours) / MIB
    yield not any(each.code for each in ours), "every run ended well"
    yield resident <= outcome.case.memory, f"resident {resident:.0f} <= {outcome.case.memory} MiB"
    yield scratch < 1, f"scratch {scratch:.1f} MiB, 0 but for the journal"


def _row(name: str, words: Iterable[str], last: str) -> None:
    print(f"  {name:<34}" + "".join(f"{word:>12}" for word in words) + f"  {last}".rstrip())


def main(arguments: list[str]) -> None:
    asked = _parser().parse_args(arguments)
    wanted = asked.only.split(",") if asked.only else KNOWN
    if unknown := set(wanted) - set(KNOWN):
        raise SystemExit(f"expected cases among {', '.join(KNOWN)}, found {', '.join(sorted(unknown))}")
    print(
        f"medians of {asked.rounds} rounds, {time.strftime('%Y-%m-%d')}; MiB; ratios: the tool's wall and CPU over ours"
    )
    _row(
        "", ("wall", "min..max", "CPU s", "resident", "scratch", "requests"), "  wall     CPU    goal (wall)"
    )
    found: list[dict[str, Any]] = []
    for name in (name for name in KNOWN if name in wanted and _possible(name)):
        found.append(_crowd(asked) if name == CROWD else _measured(CASES[name], asked))
        if asked.json:
            asked.json.write_text(json.dumps(found, indent=1))


def _crowd(asked: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, servers(Shelf(small=True), Path(folder)) as house:
        return {"case": CROWD, "throughput": crowd(house, asked.rounds)}


def _measured(case: Case, asked: argparse.Namespace) -> dict[str, Any]:
    """One case with servers of its own: none of them is still warm, or still large, from another."""
    with (
        tempfile.TemporaryDirectory() as folder,
        servers(Shelf(asked.small or case.small), Path(folder)) as house,
        disks.slow_disk(case.disk) if case.disk else nullcontext(CACHE) as work,
    ):
        outcome = measure(case if not asked.goals else _judged(case), house, asked.rounds, work)
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


def _judged(case: Case) -> Case:
    """The case with no peers but those that a goal is set against."""
    return replace(case, goals={tool: goal for tool, goal in case.goals.items() if goal}, once=())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The import engine against its peers.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--small", action="store_true", help="a disk of 0.5 GiB: quick, and kinder to the peers"
    )
    parser.add_argument("--goals", action="store_true", help="only peers that a goal is set against")
    parser.add_argument("--only", default="", metavar="CASE,...", help="names of cases.py, and `crowd`")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run there")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
