"""Random sequences of writes by several clients: how one is made and told to a server, and what watchers saw of it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from tests.conformance.chapters import place
from tests.conformance.exchange import Line, Request, plain
from tests.conformance.stories import (
    MAPS,
    WIDGETS,
    apply,
    config_map,
    delete,
    get,
    merge,
    operations,
    post,
    put,
    strategic,
    widget,
)

ONE, WIDGET = f"{MAPS}/one", f"{WIDGETS}/one"
MARKER = "the-last"
"""The object that ends every sequence: whoever watches has seen everything when it sees this."""


_EVERYWHERE = ("kube-root-ca.crt",)
"""What a controller puts into every namespace, when it likes."""


@dataclass(frozen=True)
class Replace:
    """A client sends back what it was answered last, with changes: a conflict, where others wrote since."""

    client: str
    path: str
    changes: Mapping[str, Any]


Step = Request | Replace


@dataclass
class Session:
    """What clients of one server remember of its answers."""

    line: Line
    name: str
    seen: dict[tuple[str, str], Any] = field(default_factory=dict)

    def take(self, client: str, step: Step) -> Any:
        """The answer to one step of that client, in comparable form."""
        request = self._replacing(step) if isinstance(step, Replace) else step
        code, _, raw = self.line.send(_said(request, client), self.name)
        body = json.loads(raw)
        path = request.path.partition("?")[0]
        if code < 300 and body.get("kind") != "Status":
            self.seen[client, path] = body
        return code, plain(body, self.name)

    def _replacing(self, step: Replace) -> Request:
        known = self.seen.get((step.client, step.path))
        if known is None:
            return get(step.path)
        return put(step.path, {**known, **step.changes})


def _said(request: Request, client: str) -> Request:
    return replace(request, headers={**request.headers, "User-Agent": f"{client}/1"})


CLIENTS = st.sampled_from(["ann", "ben", "cid"])
VALUES = st.sampled_from(["1", "2"])
ENTRIES = st.dictionaries(st.sampled_from("xyz"), VALUES, max_size=3)
CHANGES = st.dictionaries(st.sampled_from("xyz"), VALUES | st.none(), min_size=1, max_size=3)
LABELS = st.sampled_from([{}, {"l": "1"}, {"l": "2"}])
HELD = st.sampled_from([{}, {"finalizers": ["tests.example/hold"]}])
METADATA = st.builds(lambda held, labels: {**held, **({"labels": labels} if labels else {})}, HELD, LABELS)
PART = st.builds(
    lambda name, more: {"name": name, **more},
    st.sampled_from("abc"),
    st.sampled_from([{}, {"count": 2}, {"kind": "odd"}, {"notes": ["n"]}]),
)
TAG = st.sampled_from("abc")
KNOWN = {
    "size": st.integers(0, 5),
    "parts": st.lists(PART, max_size=3, unique_by=lambda part: (part["name"], part.get("kind"))),
    "tags": st.lists(TAG, max_size=3, unique=True),
    "unit": st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2), "maybe": st.none() | VALUES,
    "limits": st.dictionaries(st.sampled_from("ab"), st.integers(1, 2), max_size=2),
    "free": st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2),
}  # fmt: skip
APPLIED = st.fixed_dictionaries({}, optional=KNOWN)
"""What a widget may be wanted to be; some of it is not valid."""
SPECS = st.fixed_dictionaries(
    {},
    optional={name: one | st.none() for name, one in KNOWN.items()}
    | {"strange": VALUES, "parts": st.lists(PART, max_size=3), "tags": st.lists(TAG, max_size=3)},
)
"""The same with fields that are taken away, one that nobody knows, and things that are there twice."""


def _mapped(write: Callable[..., Request], *wanted: st.SearchStrategy[Any]) -> st.SearchStrategy[Request]:
    return st.builds(write, *wanted)


STEPS: st.SearchStrategy[Step] = st.one_of(
    _mapped(lambda data, said: post(MAPS, config_map("one", data=data, metadata=said)), ENTRIES, METADATA),
    _mapped(lambda data, said: put(ONE, config_map("one", data=data, metadata=said)), ENTRIES, METADATA),
    _mapped(lambda data: merge(ONE, {"data": data}), CHANGES),
    _mapped(lambda labels: merge(ONE, {"metadata": {"labels": labels or None}}), LABELS),
    _mapped(lambda data: strategic(ONE, {"data": data}), CHANGES),
    _mapped(lambda key, value: operations(ONE, {"op": "add", "path": f"/data/{key}", "value": value}),
            st.sampled_from("xyz"), VALUES),
    _mapped(lambda key: operations(ONE, {"op": "remove", "path": f"/data/{key}"}), st.sampled_from("xyz")),
    _mapped(lambda data, said, who, force: apply(ONE, config_map("one", data=data, metadata=said), who, force=force),
            ENTRIES, METADATA, CLIENTS, st.booleans()),
    _mapped(lambda held: merge(ONE, {"metadata": held or {"finalizers": None}}), HELD),
    st.just(delete(ONE)),
    st.just(delete(f"{MAPS}?labelSelector=l%3D1")),
    _mapped(lambda spec, said: post(WIDGETS, widget("one", spec=spec, metadata=said)), SPECS, METADATA),
    _mapped(lambda spec, who, force: apply(WIDGET, widget("one", spec=spec), who, force=force),
            APPLIED, CLIENTS, st.booleans()),
    _mapped(lambda spec: merge(WIDGET, {"spec": spec}), SPECS),
    _mapped(lambda labels: merge(WIDGET, {"metadata": {"labels": labels or None}}), LABELS),
    _mapped(lambda n: merge(f"{WIDGET}/status", {"status": {"replicas": n}}), st.integers(0, 3)),
    _mapped(lambda n: merge(f"{WIDGET}/scale", {"spec": {"replicas": n}}), st.integers(1, 3)),
    _mapped(lambda n, who: apply(f"{WIDGET}/status", widget("one", status={"replicas": n}), who),
            st.integers(0, 3), CLIENTS),
    _mapped(lambda held: merge(WIDGET, {"metadata": held or {"finalizers": None}}), HELD),
    st.just(delete(WIDGET)),
    st.builds(Replace, CLIENTS, st.just(ONE), st.builds(lambda data: {"data": data}, ENTRIES)),
    st.builds(Replace, CLIENTS, st.just(WIDGET), st.builds(lambda spec: {"spec": spec}, SPECS)),
    st.sampled_from([get(ONE), get(WIDGET), get(MAPS + "/one?pretty=false")]),
)  # fmt: skip
SEQUENCES = st.lists(st.tuples(CLIENTS, STEPS), min_size=3, max_size=14)


@dataclass(frozen=True)
class Outcome:
    """What a sequence came to on one server."""

    answers: list[Any]
    events: list[list[Any]]
    """Of both kinds: all; those of one label; those of a client that resumed in the middle."""


def outcome(line: Line, steps: list[tuple[str, Step]]) -> Outcome:
    """Tell a sequence to a server, then watch it from its beginning."""
    name = place(line)
    since = {path: _revision(line, path, name) for path in (MAPS, WIDGETS)}
    session = Session(line, name)
    answers = [session.take(client, step) for client, step in steps]
    for path, kind in ((MAPS, config_map), (WIDGETS, widget)):
        line.send(post(path, kind(MARKER, metadata={"labels": {"l": "1"}})), name)
    events = []
    for path, revision in since.items():
        whole = _events(line, name, f"{path}?resourceVersion={revision}")
        told = [revision, *(event["object"]["metadata"]["resourceVersion"] for event in whole)]
        middle = told[len(whole) // 2]
        resumed = _events(line, name, f"{path}?resourceVersion={middle}")
        chosen = _events(line, name, f"{path}?resourceVersion={revision}&labelSelector=l%3D1")
        events += [[plain(event, name) for event in some] for some in (whole, resumed, chosen)]
    return Outcome(answers, events)


def _revision(line: Line, path: str, name: str) -> str:
    found = json.loads(line.send(get(path), name)[2])
    return str(found["metadata"]["resourceVersion"])


def _events(line: Line, name: str, path: str) -> list[Any]:
    """What a watch tells until it has told of the marker."""
    found = []
    for event in line.follow(get(f"{path}&watch=1&timeoutSeconds=60"), name):
        if event["object"]["metadata"].get("name") not in _EVERYWHERE:
            found.append(event)
        if event["object"]["metadata"].get("name") == MARKER:
            break
    return found
