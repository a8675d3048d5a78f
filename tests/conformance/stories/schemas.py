"""What a CustomResourceDefinition's schema refuses, fills in and prunes, and in which words."""

from typing import Any

from tests.conformance.exchange import Request
from tests.conformance.stories import DISKS, WIDGETS, Stories, Story, disk, get, merge, post, put, widget

WIDGET = f"{WIDGETS}/one"
OLD = "/apis/tests.example/v1alpha1/namespaces/PLACE/widgets"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def specs(*wanted: Any) -> Story:
    """A widget of each spec, asked for in turn; one that is taken is taken away again."""
    told: list[Request] = []
    for number, spec in enumerate(wanted):
        told.append(post(WIDGETS, widget(f"w{number}", spec=spec)))
    return tuple(told)


def ruled(rule: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A definition with a field that has that schema and rule."""
    field = {**schema, "x-kubernetes-validations": [{"rule": rule}]}
    spec = {"type": "object", "properties": {"field": field}}
    whole = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    names = {"kind": "Gadget", "listKind": "GadgetList", "plural": "gadgets", "singular": "gadget"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.tests.example"},
        "spec": {
            "group": "tests.example",
            "scope": "Namespaced",
            "names": names,
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": whole}],
        },
    }


STORIES: Stories = {
    "defaults": specs(
        {}, {"size": None}, {"parts": [{"name": "a"}]}, {"nested": {"must": "be"}}, {"mode": None}
    ),
    "no spec at all": (post(WIDGETS, widget("one")),),
    "unknown fields": specs(
        {"nonsense": 1},
        {"free": {"x": {"y": 1}}},
        {"template": {"kind": "X", "a": 1}},
        {"parts": [{"name": "a", "b": 1}]},
    ),
    "wrong types": specs(
        {"size": "big"},
        {"size": 1.5},
        {"size": True},
        {"name": 5},
        {"tags": "x"},
        {"tags": [1]},
        {"limits": []},
        {"limits": {"a": "x"}},
        {"parts": {}},
        {"parts": [1]},
        {"nested": "x"},
        {"port": 1.5},
        {"port": True},
        "spec",
        [],
        5,
        {"mode": None},
        {"name": None},
        {"maybe": None},
        {"size": "a", "name": 5},
        {"ratio": "x"},
        {"tags": None},
        {"unit": None},
    ),
    "numbers out of range": specs(
        {"size": 0},
        {"size": 101},
        {"ratio": 0.3},
        {"ratio": 1.5},
        {"replicas": -1},
        {"replicas": 2147483648},
        {"size": 5.0},
    ),
    "texts out of rule": specs(
        {"name": "w-"},
        {"name": "w-" + "x" * 9},
        {"mode": "medium"},
        {"code": "ABC"},
        {"code": "abc"},
        {"name": ""},
        {"name": "w-é"},
        {"mode": ""},
    ),
    "formats": specs(
        {"when": "yesterday"},
        {"when": "2020-01-01T00:00:00Z"},
        {"address": "1.2.3"},
        {"address": "1.2.3.4"},
        {"link": "not a link"},
        {"link": "http://x"},
        {"secret": "!"},
        {"secret": "MQ=="},
        {"when": "2020-01-01"},
    ),
    "lists out of rule": specs(
        {"tags": ["a", "a"]},
        {"tags": list("abcdef")},
        {"parts": [{"name": "a"}, {"name": "a"}]},
        {"parts": [{"name": "a", "kind": "x"}, {"name": "a", "kind": "y"}]},
        {"parts": [{}]},
        {"limits": {}},
        {"limits": {"a": 1, "b": 2, "c": 3, "d": 4}},
    ),
    "required and one of": specs(
        {"nested": {}},
        {"choice": {}},
        {"choice": {"left": "a", "right": "b"}},
        {"choice": {"left": "a"}},
    ),
    "CEL rules": specs(
        {"replicas": 2, "most": 1},
        {"replicas": 1, "most": 2},
        {"name": "abc"},
        {"name": "w-a"},
        {"name": "abc", "replicas": 3, "most": 1},
    ),
    "CEL rules about a change": (
        post(WIDGETS, widget("one", spec={"fixed": "a"})),
        merge(WIDGET, {"spec": {"fixed": "b"}}),
        merge(WIDGET, {"spec": {"size": 7}}),
        merge(WIDGET, {"spec": {"fixed": None}}),
        merge(WIDGET, {"spec": {"fixed": "b"}}),
    ),
    "many causes at once": specs(
        {"size": 0, "mode": "medium", "code": "ABC", "tags": ["a", "a"], "nested": {}}
    ),
    "embedded objects": specs(
        {"template": {}},
        {"template": {"apiVersion": "v1", "kind": "Pod"}},
        {
            "template": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "Not A Name", "labels": {"a": "b"}},
            }
        },
        {"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"nonsense": 1}}},
    ),
    "strict about unknown fields": (
        post(
            f"{WIDGETS}?fieldValidation=Strict",
            widget("one", spec={"nonsense": 1, "parts": [{"name": "a", "b": 1}]}),
        ),
        post(f"{WIDGETS}?fieldValidation=Strict", widget("one", nonsense=1)),
        post(
            f"{WIDGETS}?fieldValidation=Strict",
            b'{"apiVersion":"tests.example/v1","kind":"Widget","metadata":{"name":"one"},"spec":{"size":1,"size":2}}',
        ),
        post(
            WIDGETS,
            b'{"apiVersion":"tests.example/v1","kind":"Widget","metadata":{"name":"one"},"spec":{"size":1,"size":2}}',
        ),
        post(f"{WIDGETS}?fieldValidation=Strict", widget("two", metadata={"nonsense": 1})),
        put(f"{WIDGET}?fieldValidation=Strict", widget("one", spec={"nonsense": 1})),
        merge(f"{WIDGET}?fieldValidation=Strict", {"spec": {"nonsense": 1}}),
    ),
    "a rule that is broken already does not stop another change": (
        post(
            OLD,
            {
                "apiVersion": "tests.example/v1alpha1",
                "kind": "Widget",
                "metadata": {"name": "one"},
                "spec": {"size": 500, "code": "ABC"},
            },
        ),
        get(WIDGET),
        merge(WIDGET, {"metadata": {"labels": {"a": "b"}}}),
        merge(WIDGET, {"spec": {"most": 3}}),
        merge(WIDGET, {"spec": {"size": 501}}),
        merge(WIDGET, {"spec": {"size": 50}}),
    ),
    "an old version": (
        post(OLD, {"apiVersion": "tests.example/v1alpha1", "kind": "Widget", "metadata": {"name": "one"}}),
        get(WIDGET),
        get(f"{OLD}/one"),
        get(OLD),
        get("/apis/tests.example/v0/namespaces/PLACE/widgets"),
        get("/apis/tests.example/v9/namespaces/PLACE/widgets"),
        post(OLD, widget("two")),
        post(
            WIDGETS, {"apiVersion": "tests.example/v1alpha1", "kind": "Widget", "metadata": {"name": "two"}}
        ),
    ),
    "DataVolumes that are not right": (
        post(DISKS, disk("one", source={"http": {"url": 3}})),
        post(DISKS, disk("one", source="x")),
        post(DISKS, disk("one", storage={"resources": {"requests": {"storage": "much"}}})),
        post(DISKS, disk("one", contentType="other")),
    ),
    "definitions that are not right": (
        post(
            DEFINITIONS,
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": "wrong"},
                "spec": {},
            },
        ),
        post(
            DEFINITIONS,
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": "gadgets.tests.example"},
                "spec": {
                    "group": "tests.example",
                    "scope": "Namespaced",
                    "names": {"kind": "Gadget", "plural": "gadgets"},
                    "versions": [{"name": "v1", "served": True, "storage": True}],
                },
            },
        ),
    ),
    "rules that a server looks at beforehand": (
        post(f"{DEFINITIONS}?dryRun=All", ruled("self.size() + 1 == 'two'", {"type": "string"})),
        post(
            f"{DEFINITIONS}?dryRun=All",
            ruled(
                "self.all(x, self.all(y, x == y))",
                {"type": "array", "items": {"type": "string"}},
            ),
        ),
        post(f"{DEFINITIONS}?dryRun=All", ruled("self.nobody == 1", {"type": "object", "properties": {}})),
    ),
}
