"""Changing in part: merge, JSON and strategic patches."""

from tests.conformance.exchange import Request
from tests.conformance.stories import (
    MAPS,
    PODS,
    SERVICES,
    WIDGETS,
    Stories,
    config_map,
    get,
    merge,
    operations,
    pod,
    post,
    strategic,
    widget,
)

ONE = f"{MAPS}/one"
TWO_PORTS = {
    "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}],
    "clusterIP": "None",
    "selector": {"a": "b"},
}

STORIES: Stories = {
    "a merge patch": (
        post(MAPS, config_map("one", data={"a": "1", "b": "2"})),
        merge(ONE, {"data": {"a": None, "c": "3"}}),
        merge(ONE, {"data": {"c": "3"}}),
        merge(ONE, {"data": None}),
        merge(ONE, {"metadata": {"labels": {"x": "y"}, "annotations": {"k": "v"}}}),
        merge(ONE, {"metadata": {"resourceVersion": "1"}}),
        merge(ONE, {"metadata": {"name": "two"}}),
        merge(ONE, {"metadata": {"namespace": "elsewhere"}}),
        merge(ONE, {"kind": "Secret"}),
        merge(ONE, {"apiVersion": "v2"}),
        merge(ONE, []),
        merge(ONE, "text"),
        merge(ONE, b"{"),
        merge(f"{MAPS}/two", {"data": {"a": "1"}}),
    ),
    "a merge patch of a custom object": (
        post(WIDGETS, widget("one", spec={"size": 5, "limits": {"a": 1}})),
        merge(f"{WIDGETS}/one", {"spec": {"limits": {"b": 2}, "size": None}}),
        merge(f"{WIDGETS}/one", {"spec": {"size": 500}}),
        merge(f"{WIDGETS}/one", {"metadata": {"resourceVersion": "1"}}),
        merge(f"{WIDGETS}/one", {"metadata": {"name": "two"}}),
        merge(f"{WIDGETS}/one", {"kind": "Gadget"}),
        merge(f"{WIDGETS}/one", []),
        merge(f"{WIDGETS}/one", b"{"),
        merge(f"{WIDGETS}/one", {"spec": None}),
        merge(f"{WIDGETS}/two", {"spec": {}}),
    ),
    "a JSON patch": (
        post(MAPS, config_map("one", data={"a": "1"})),
        operations(
            ONE,
            {"op": "test", "path": "/data/a", "value": "1"},
            {"op": "move", "from": "/data/a", "path": "/data/b"},
        ),
        operations(
            ONE,
            {"op": "add", "path": "/data/c", "value": "3"},
            {"op": "copy", "from": "/data/c", "path": "/data/d"},
        ),
        operations(ONE, {"op": "test", "path": "/data/b", "value": "2"}),
        operations(ONE, {"op": "replace", "path": "/no/such", "value": "2"}),
        operations(ONE, {"op": "replace", "path": "/data/no", "value": "2"}),
        operations(ONE, {"op": "remove", "path": "/data/no"}),
        operations(ONE, {"op": "remove", "path": "/no/such"}),
        operations(ONE, {"op": "add", "path": "/no/such", "value": "1"}),
        operations(ONE, {"op": "conjure", "path": "/data/a"}),
        operations(ONE, {"op": "add", "path": "data/a", "value": "1"}),
        operations(ONE, {"path": "/data/a", "value": "1"}),
        operations(ONE, {"op": "test", "path": "/data/none", "value": None}),
        operations(ONE, {"op": "replace", "path": "/metadata/name", "value": "two"}),
        operations(ONE),
        Request("PATCH", ONE, {"op": "add"}, {"Content-Type": "application/json-patch+json"}),
        Request("PATCH", ONE, b"[", {"Content-Type": "application/json-patch+json"}),
        operations(f"{MAPS}/two", {"op": "add", "path": "/data", "value": {}}),
    ),
    "a JSON patch of a custom object": (
        post(WIDGETS, widget("one", spec={"tags": ["a", "b"]})),
        operations(f"{WIDGETS}/one", {"op": "add", "path": "/spec/tags/-", "value": "c"}),
        operations(f"{WIDGETS}/one", {"op": "add", "path": "/spec/tags/9", "value": "c"}),
        operations(f"{WIDGETS}/one", {"op": "remove", "path": "/spec/tags/0"}),
        operations(f"{WIDGETS}/one", {"op": "replace", "path": "/spec/tags", "value": ["x", "x"]}),
        operations(f"{WIDGETS}/one", {"op": "test", "path": "/spec/size", "value": 4}),
    ),
    "a strategic patch of a pod": (
        post(PODS, pod("one")),
        strategic(f"{PODS}/one", {"spec": {"containers": [{"name": "main", "image": "diskyard:2"}]}}),
        strategic(f"{PODS}/one", {"spec": {"containers": [{"name": "other", "image": "x"}]}}),
        strategic(
            f"{PODS}/one",
            {
                "metadata": {"labels": {"a": "1"}},
                "spec": {"tolerations": [{"key": "k", "operator": "Exists"}]},
            },
        ),
        strategic(f"{PODS}/one", {"metadata": {"labels": {"$patch": "replace", "b": "2"}}}),
        strategic(f"{PODS}/one", {"metadata": {"finalizers": ["tests.example/a", "tests.example/b"]}}),
        strategic(f"{PODS}/one", {"metadata": {"$deleteFromPrimitiveList/finalizers": ["tests.example/a"]}}),
        strategic(
            f"{PODS}/one",
            {
                "metadata": {
                    "finalizers": ["tests.example/c"],
                    "$setElementOrder/finalizers": ["tests.example/c", "tests.example/b"],
                }
            },
        ),
        strategic(f"{PODS}/one", {"metadata": {"labels": {"$retainKeys": ["b"], "b": "3"}}}),
        strategic(f"{PODS}/one", {"metadata": {"labels": {"$patch": "delete"}}}),
        strategic(f"{PODS}/one", {"spec": {"containers": "none"}}),
        strategic(f"{PODS}/one", []),
    ),
    "a strategic patch of conditions": (
        post(PODS, pod("one")),
        strategic(f"{PODS}/one/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        strategic(f"{PODS}/one/status", {"status": {"conditions": [{"type": "Other", "status": "False"}]}}),
        strategic(
            f"{PODS}/one/status",
            {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Why"}]}},
        ),
        strategic(f"{PODS}/one/status", {"status": {"conditions": [{"type": "Ready", "$patch": "delete"}]}}),
        strategic(
            f"{PODS}/one/status",
            {
                "status": {
                    "$setElementOrder/conditions": [{"type": "New"}, {"type": "Other"}],
                    "conditions": [{"type": "New", "status": "True"}],
                }
            },
        ),
    ),
    "a strategic patch of a Service": (
        post(SERVICES, {"metadata": {"name": "one"}, "spec": TWO_PORTS}),
        strategic(f"{SERVICES}/one", {"spec": {"ports": [{"name": "c", "port": 82}]}}),
        strategic(f"{SERVICES}/one", {"spec": {"ports": [{"port": 80, "$patch": "delete"}]}}),
        strategic(f"{SERVICES}/one", {"spec": {"selector": {"a": "b"}}}),
    ),
    "a strategic patch of a ConfigMap": (
        post(MAPS, config_map("one", data={"a": "1", "b": "2"})),
        strategic(ONE, {"data": {"a": None}}),
        strategic(ONE, {"data": {"$patch": "replace", "z": "9"}}),
        strategic(ONE, {"data": {"$retainKeys": ["y"], "y": "8"}}),
        strategic(ONE, {"$patch": "delete", "data": {}}),
        get(ONE),
    ),
    "no strategic patch of a custom object": (
        post(WIDGETS, widget("one")),
        strategic(f"{WIDGETS}/one", {"spec": {"size": 4}}),
    ),
    "patches of an unknown type": (
        post(MAPS, config_map("one")),
        Request("PATCH", ONE, {}, {"Content-Type": "application/json"}),
        Request("PATCH", ONE, {}, {"Content-Type": "text/plain"}),
        Request("PATCH", ONE, {}, {"Content-Type": "application/merge-patch+json; charset=utf-8"}),
    ),
    "the status apart": (
        post(WIDGETS, widget("one", spec={"size": 4}, status={"replicas": 3})),
        merge(f"{WIDGETS}/one", {"status": {"replicas": 3}}),
        merge(
            f"{WIDGETS}/one/status",
            {"status": {"replicas": 2}, "spec": {"size": 9}, "metadata": {"labels": {"a": "b"}}},
        ),
        merge(f"{WIDGETS}/one/status", {"status": {"replicas": "many"}}),
        merge(f"{WIDGETS}/one", {"spec": {"size": 6}}),
        get(f"{WIDGETS}/one/status"),
        merge(f"{MAPS}/one/status", {"data": {}}),
        get(f"{WIDGETS}/one/nothing"),
    ),
    "a scale": (
        post(WIDGETS, widget("one", spec={"replicas": 1})),
        get(f"{WIDGETS}/one/scale"),
        merge(f"{WIDGETS}/one/scale", {"spec": {"replicas": 2}}),
        merge(f"{WIDGETS}/one/scale", {"spec": {"replicas": -2}}),
        merge(f"{WIDGETS}/one/status", {"status": {"replicas": 2, "selector": "a=b"}}),
        get(f"{WIDGETS}/one/scale"),
        get(f"{WIDGETS}/two/scale"),
        get(f"{MAPS}/one/scale"),
    ),
}
