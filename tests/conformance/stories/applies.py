"""Server-side apply: who owns what, and what happens when two want the same."""

from tests.conformance.exchange import APPLY, Request
from tests.conformance.stories import (
    MAPS,
    PODS,
    SECRETS,
    SERVICES,
    WIDGETS,
    Stories,
    apply,
    config_map,
    get,
    merge,
    pod,
    post,
    put,
    widget,
)

ONE = f"{MAPS}/one"
WIDGET = f"{WIDGETS}/one"

STORIES: Stories = {
    "two authors of one ConfigMap": (
        apply(ONE, config_map("one", data={"a": "1", "b": "1"})),
        apply(ONE, config_map("one", data={"a": "1", "b": "1"})),
        apply(ONE, config_map("one", data={"b": "2", "c": "2"}), "ben"),
        apply(ONE, config_map("one", data={"b": "2", "c": "2"}), "ben", force=True),
        apply(ONE, config_map("one", data={"a": "1"})),
        apply(ONE, config_map("one", metadata={"labels": {"x": "y"}}), "ben"),
        get(ONE),
    ),
    "several conflicts at once": (
        apply(ONE, config_map("one", data={"a": "1", "b": "1"})),
        merge(f"{ONE}?fieldManager=cid", {"data": {"c": "1"}}),
        apply(ONE, config_map("one", data={"a": "2", "b": "2", "c": "2"}), "ben"),
    ),
    "an edit takes over what it changes": (
        apply(ONE, config_map("one", data={"a": "1", "b": "1"})),
        merge(f"{ONE}?fieldManager=ben", {"data": {"a": "2"}}),
        apply(ONE, config_map("one", data={"a": "3", "b": "1"})),
        apply(ONE, config_map("one", data={"b": "1"})),
    ),
    "an object that was created comes under apply": (
        post(f"{MAPS}?fieldManager=maker", config_map("one", data={"a": "1"})),
        apply(ONE, config_map("one", data={"a": "1", "b": "1"})),
        apply(ONE, config_map("one", data={"b": "1"})),
    ),
    "nobody says who applies": (
        Request("PATCH", ONE, config_map("one"), {"Content-Type": APPLY}),
        apply(ONE, config_map("one"), "x" * 129),
        post(f"{MAPS}?fieldManager={'x' * 129}", config_map("one")),
        apply(ONE, config_map("one"), "a%0Ab"),
    ),
    "what cannot be applied": (
        apply(ONE, config_map("one", metadata={"managedFields": [{}]})),
        apply(ONE, config_map("one", metadata={"resourceVersion": "1"})),
        apply(ONE, config_map("two")),
        apply(ONE, {"metadata": {"name": "one"}}),
        apply(ONE, {"apiVersion": "v1", "metadata": {"name": "one"}}),
        apply(ONE, pod("one")),
        apply(ONE, config_map("one", nonsense=1)),
        apply(ONE, config_map("one", data={"a": 1})),
        Request("PATCH", f"{ONE}?fieldManager=ann", b"[", {"Content-Type": APPLY}),
        Request("PATCH", f"{ONE}?fieldManager=ann", b"- a", {"Content-Type": APPLY}),
        get(ONE),
    ),
    "an old revision is applied": (
        apply(ONE, config_map("one", data={"a": "1"})),
        apply(ONE, config_map("one", data={"a": "2"}, metadata={"resourceVersion": "1"})),
    ),
    "lists of named things, sets and wholes": (
        apply(
            WIDGET,
            widget("one", spec={"tags": ["a", "b"], "parts": [{"name": "x", "count": 2}, {"name": "y"}]}),
        ),
        apply(
            WIDGET,
            widget("one", spec={"tags": ["c", "b"], "parts": [{"name": "z"}, {"name": "x", "kind": "fine"}]}),
            "ben",
        ),
        apply(WIDGET, widget("one", spec={"parts": [{"name": "y"}]})),
        apply(WIDGET, widget("one", spec={"parts": [{"name": "x", "count": 3}]}), "cid"),
        apply(WIDGET, widget("one", spec={"whole": [{"a": "1"}], "unit": {"a": "1"}})),
        apply(WIDGET, widget("one", spec={"whole": [{"b": "1"}]}), "ben"),
        apply(WIDGET, widget("one", spec={"unit": {"b": "1"}}), "ben"),
        apply(WIDGET, widget("one", spec={"unit": {"b": "1"}}), "ben", force=True),
        apply(WIDGET, widget("one", spec={"parts": [{"name": "d"}, {"name": "d"}]}), "ben"),
        apply(WIDGET, widget("one", spec={"tags": ["a", "a"]}), "ben"),
        apply(WIDGET, widget("one", spec={"parts": [{"count": 1}]}), "ben"),
    ),
    "free content is owned field by field": (
        apply(
            WIDGET,
            widget(
                "one",
                spec={
                    "free": {"a": {"b": 1, "c": [1, 2]}},
                    "template": {"kind": "X", "metadata": {"labels": {"l": "1"}}},
                },
            ),
        ),
        apply(WIDGET, widget("one", spec={"free": {"a": {"d": 1}}}), "ben"),
        apply(WIDGET, widget("one", spec={"free": {"a": {"c": [3]}}}), "ben"),
    ),
    "defaults have no owner": (
        apply(WIDGET, widget("one", spec={"nested": {"must": "be"}})),
        apply(WIDGET, widget("one", spec={"size": 3, "mode": "fast"}), "ben"),
        apply(WIDGET, widget("one", spec={"mode": "slow"}), "ben"),
        apply(WIDGET, widget("one", spec={}), "ben"),
    ),
    "what is applied must be valid": (
        apply(WIDGET, widget("one", spec={"size": 500})),
        apply(WIDGET, widget("one", spec={"size": "big"})),
        apply(WIDGET, widget("one", spec={"nonsense": "big"})),
        apply(WIDGET, widget("one", spec={"tags": "big"})),
        apply(WIDGET, widget("one", spec={"nested": {}})),
    ),
    "the status is applied apart": (
        apply(WIDGET, widget("one", spec={"size": 4}, status={"replicas": 1})),
        apply(
            f"{WIDGET}/status",
            widget("one", status={"replicas": 1, "conditions": [{"type": "Ready", "status": "True"}]}),
            "ben",
        ),
        apply(
            f"{WIDGET}/status",
            widget("one", status={"conditions": [{"type": "Other", "status": "True"}]}),
            "cid",
        ),
        apply(f"{WIDGET}/status", widget("one", status={"replicas": 2}), "cid"),
        apply(f"{WIDGETS}/two/status", widget("two", status={"replicas": 2}), "cid"),
        get(WIDGET),
    ),
    "a scale has an owner": (
        apply(WIDGET, widget("one", spec={"replicas": 1})),
        merge(f"{WIDGET}/scale?fieldManager=hpa", {"spec": {"replicas": 2}}),
        apply(WIDGET, widget("one", spec={"replicas": 1})),
        apply(WIDGET, widget("one", spec={})),
    ),
    "null is applied": (
        apply(WIDGET, widget("one", spec={"maybe": None, "size": None, "limits": None})),
        apply(ONE, config_map("one", data=None)),
        apply(ONE, config_map("one", data={"a": None})),
        apply(ONE, config_map("one", data={})),
        post(MAPS, config_map("two", data={"a": None})),
        put(f"{MAPS}/two", config_map("two", data={"a": None, "b": "1"})),
        post(MAPS, config_map("three", metadata={"labels": {"a": None}, "annotations": {"b": None}})),
        apply(f"{MAPS}/four", config_map("four", metadata={"labels": {"a": None}, "annotations": None})),
        post(SECRETS, {"metadata": {"name": "five"}, "data": {"a": None}, "stringData": {"b": None}}),
        apply(WIDGET, widget("one", metadata={"labels": {"a": None}})),
    ),
    "null where there is no room for it": (
        apply(WIDGET, widget("one", spec={"maybe": None, "size": None})),
        apply(WIDGET, widget("one", spec={"limits": {"a": None}})),
        apply(WIDGET, widget("one", spec={"limits": {"a": 1}, "name": None})),
        apply(
            WIDGET,
            widget("one", spec={"limits": {"a": 1}, "parts": [{"name": "a", "count": None, "notes": None}]}),
        ),
        apply(
            WIDGET, widget("one", spec={"limits": {"a": 1}, "nested": {"must": "a", "with": {"deep": None}}})
        ),
        apply(WIDGET, widget("one", spec={"limits": {"a": 1}, "nested": None})),
        apply(WIDGET, widget("one", spec=None)),
        apply(WIDGET, widget("one", spec={"limits": {"a": 1}, "free": None, "port": None})),
        apply(WIDGET, widget("one", spec={"limits": {"a": 1}, "free": {"a": None}})),
        apply(f"{WIDGET}/status", widget("one", status={"replicas": None})),
        apply(f"{WIDGET}/status", widget("one", status=None)),
    ),
    "an object of which nothing is left is applied": (
        apply(WIDGET, widget("one", spec={"limits": {"a": 1}, "unit": {"a": "1"}, "free": {"a": "1"}})),
        apply(WIDGET, widget("one", spec={"limits": {}})),
        apply(WIDGET, widget("one", spec={"limits": {"a": 1}, "unit": {}, "free": {"a": "1"}})),
        apply(WIDGET, widget("one", spec={"limits": {"a": 1}, "unit": {"a": "1"}, "free": {}})),
        apply(WIDGET, widget("one", spec={"limits": {"a": 1}, "free": {"a": "1"}})),
        apply(WIDGET, widget("one", spec={"limits": {"a": 1}, "free": {}}), "ben"),
        apply(WIDGET, widget("one", spec={"limits": {"a": 1}}), "ben"),
        apply(WIDGET, widget("one", spec={})),
        apply(WIDGET, widget("one", spec={}), "ben"),
        apply(WIDGET, widget("one")),
        get(WIDGET),
    ),
    "a pod is applied": (
        apply(
            f"{PODS}/one",
            pod(
                "one",
                containers=[
                    {
                        "name": "main",
                        "image": "a",
                        "env": [{"name": "A", "value": "1"}],
                        "ports": [{"containerPort": 80}],
                    }
                ],
            ),
        ),
        apply(f"{PODS}/one", pod("one", containers=[{"name": "main", "image": "b"}]), "ben"),
        apply(f"{PODS}/one", pod("one", containers=[{"name": "main", "image": "b"}]), "ben", force=True),
    ),
    "a Service is applied": (
        apply(
            f"{SERVICES}/one",
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "one"},
                "spec": {"clusterIP": "None", "selector": {"a": "b"}, "ports": [{"port": 80, "name": "a"}]},
            },
        ),
        apply(
            f"{SERVICES}/one",
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "one"},
                "spec": {"ports": [{"port": 81, "name": "b"}]},
            },
            "ben",
        ),
    ),
    "owners are told by an ordinary writer": (
        post(f"{MAPS}?fieldManager=ann", config_map("one", data={"a": "1"})),
        put(f"{ONE}?fieldManager=ben", config_map("one", data={"a": "2", "b": "1"})),
        put(f"{ONE}?fieldManager=cid", config_map("one", data={"b": "1"}, metadata={"managedFields": []})),
        put(f"{ONE}?fieldManager=cid", config_map("one", data={"b": "1"}, metadata={"managedFields": [{}]})),
        apply(ONE, config_map("one", data={"b": "1"})),
        merge(ONE, {"metadata": {"managedFields": [{"manager": "x", "operation": "Nonsense"}]}}),
    ),
    "an old version is applied": (
        apply(WIDGET, widget("one", spec={"size": 4})),
        apply(
            "/apis/tests.example/v1alpha1/namespaces/PLACE/widgets/one",
            {
                "apiVersion": "tests.example/v1alpha1",
                "kind": "Widget",
                "metadata": {"name": "one"},
                "spec": {"name": "w-1"},
            },
        ),
        apply(WIDGET, widget("one", spec={"size": 4}), "ben"),
    ),
}
