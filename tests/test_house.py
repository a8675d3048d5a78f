"""The house rules that no linter knows: sizes, names, where wire names live, what must be documented."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = (
    "diskyard", "importer", "uploadproxy", "cloner", "datavolume_controller", "vm_runtime", "standalone", "cli",
    "demo", "pages",
)  # fmt: skip
FOLDERS = {
    *PRODUCT, "charts", "tests", "docs", "benchmarks", ".ci",
}  # fmt: skip
FORBIDDEN = {"util", "utils", "common", "helper", "helpers", "misc", "manager", "base", "data", "info"}
LINES_A_FILE = 400
LINES_A_FUNCTION = 50
WIRE_NAME = re.compile(r"(?:kubevirt|diskyard|kubernetes|k8s)\.io/(?!v\d)[\w.{%-]|^IMPORTER_[A-Z_]+$")
NAMES = ROOT / "diskyard/api/names"


def product_files() -> list[Path]:
    return sorted(path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py"))


def all_files() -> list[Path]:
    return (
        product_files() + sorted((ROOT / "tests").rglob("*.py")) + sorted((ROOT / "benchmarks").rglob("*.py"))
    )


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def strings(path: Path) -> Iterator[tuple[int, str]]:
    tree = parsed(path)
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value


def _goes_on(handler: ast.ExceptHandler) -> bool:
    """Whether the handler only tidies up and raises again."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def documented() -> str:
    return "\n".join(
        path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    )


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_the_top_level_holds_only_the_folders_of_the_design() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = {line.split("/")[0] for line in tracked.splitlines() if "/" in line}

    assert found <= FOLDERS


@pytest.mark.parametrize("path", all_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES_A_FILE


def test_a_function_is_short_enough_to_read() -> None:
    long = [
        f"{where(path, node.lineno)} {node.name}"
        for path in all_files()
        for node in functions(path)
        if (node.end_lineno or 0) - node.lineno + 1 > LINES_A_FUNCTION
    ]

    assert not long


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    vague = [path for path in product_files() if {path.stem, path.parent.name} & FORBIDDEN]

    assert not vague


def test_no_function_or_class_has_a_name_that_says_nothing() -> None:
    vague = [
        f"{where(path, node.lineno)} {node.name}"
        for path in product_files()
        for node in parsed(path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and (
            node.name.lstrip("_").lower() in FORBIDDEN
            or re.match(r"_*(do_|new_|Abstract|I[A-Z][a-z])|.*(Impl|Util|Helper|Manager)s?$", node.name)
        )
    ]

    assert not vague


def test_every_module_says_what_it_is() -> None:
    silent = [
        path for path in product_files() if path.read_text().strip() and not ast.get_docstring(parsed(path))
    ]

    assert not silent


def test_wire_names_are_written_once_in_their_own_place() -> None:
    stray = [
        f"{where(path, line)} {text!r}"
        for path in product_files()
        if NAMES not in path.parents
        for line, text in strings(path)
        if WIRE_NAME.search(text) and " " not in text
    ]

    assert not stray


def test_nothing_is_left_for_later_in_the_product() -> None:
    left = [
        where(path, number)
        for path in product_files()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"\b(TODO|FIXME|XXX)\b|NotImplementedError|type: ignore|pragma: no cover", line)
    ]

    assert not left


def test_only_programs_and_the_controller_loop_catch_everything() -> None:
    wide = [
        where(path, node.lineno)
        for path in product_files()
        if path.name != "__main__.py" and path != ROOT / "diskyard/kube/controller.py"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
        )
    ]

    assert not wide


def test_every_command_line_flag_is_documented() -> None:
    text = documented()
    flags = {
        word
        for path in (ROOT / "cli").rglob("*.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "option"
        for argument in node.args
        if isinstance(argument, ast.Constant)
        for word in re.findall(r"^--[a-z][a-z-]+", str(argument.value))
    }

    assert not {flag for flag in flags if flag not in text}


def test_every_metric_is_documented() -> None:
    text = documented()
    metrics = {
        found
        for path in product_files()
        for _, found in strings(path)
        if re.fullmatch(r"(kubevirt|diskyard)_[a-z0-9]+_[a-z0-9_]+", found)
    }

    assert not {metric for metric in metrics if metric not in text}


def test_every_environment_name_is_documented() -> None:
    text = documented()
    names = {
        found
        for path in product_files()
        for _, found in strings(path)
        if re.fullmatch(r"(DISKYARD|IMPORTER|FILESYSTEM|OWNER|INSECURE)_[A-Z_]*[A-Z]_?", found)
    }

    assert not {name for name in names if name not in text}


def test_the_map_is_short_enough_to_read() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 150


def test_every_promise_names_a_test_that_exists() -> None:
    promised = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "SPECIFICATION.md").read_text())

    assert promised
    for file, name in promised:
        assert (ROOT / file).is_file(), file
        assert not name or f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"


def test_constraints_pin_versions_and_no_addresses() -> None:
    lines = (ROOT / "constraints.txt").read_text().split()

    assert lines
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)


def _headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them of its headings."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
        if "://" not in link
    ]

    assert links
    for page, link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in _headings(target), f"{page.name}: {link}"
