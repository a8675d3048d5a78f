"""Creating, replacing and deleting."""

from tests.conformance.stories import (
    CLAIMS,
    DISKS,
    MAPS,
    PODS,
    SECRETS,
    SERVICES,
    WIDGETS,
    Stories,
    claim,
    config_map,
    delete,
    disk,
    get,
    merge,
    pod,
    post,
    put,
    widget,
)

HELD = {"finalizers": ["tests.example/hold"]}
OPTIONS = {"apiVersion": "v1", "kind": "DeleteOptions"}

STORIES: Stories = {
    "a ConfigMap is made, read and gone": (
        post(MAPS, config_map("one", data={"a": "1"})),
        get(f"{MAPS}/one"),
        delete(f"{MAPS}/one"),
        get(f"{MAPS}/one"),
        delete(f"{MAPS}/one"),
    ),
    "a name is taken once": (post(MAPS, config_map("one")), post(MAPS, config_map("one"))),
    "a custom name is taken once": (post(WIDGETS, widget("one")), post(WIDGETS, widget("one"))),
    "a name is made up": (post(MAPS, config_map("", metadata={"generateName": "many-"})),),
    "no name at all": (post(MAPS, config_map("")), post(WIDGETS, widget(""))),
    "names out of rule": tuple(
        post(MAPS, config_map(name)) for name in ("Upper", "under_score", "-dash", "x" * 254, "dot.")
    ),
    "custom names out of rule": tuple(
        post(WIDGETS, widget(name)) for name in ("Upper", "under_score", "x" * 254)
    ),
    "labels and annotations out of rule": tuple(
        post(MAPS, config_map("one", metadata=metadata))
        for metadata in (
            {"labels": {"a b": "c"}},
            {"labels": {"a": "b c"}},
            {"labels": {"a": "x" * 64}},
            {"labels": {"/a": "b"}},
            {"labels": {"A.b/": "c"}},
            {"labels": {"x" * 64: "c"}},
            {"annotations": {"a b": "c"}},
            {"annotations": {"a": "x" * 262145}},
        )
    ),
    "finalizers and owners out of rule": tuple(
        post(MAPS, config_map("one", metadata=metadata))
        for metadata in (
            {"finalizers": ["unqualified"]},
            {"finalizers": ["a b/c"]},
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x"}]},
            {"ownerReferences": [{"apiVersion": "", "kind": "", "name": "", "uid": ""}]},
        )
    ),
    "an object that says another namespace": (
        post(MAPS, config_map("one", metadata={"namespace": "elsewhere"})),
        put(f"{MAPS}/one", config_map("one", metadata={"namespace": "elsewhere"})),
    ),
    "an object that says another name": (
        post(MAPS, config_map("one")),
        put(f"{MAPS}/one", config_map("two")),
        put(f"{MAPS}/one", config_map("")),
    ),
    "an object of another kind": (
        post(MAPS, pod("one")),
        post(WIDGETS, config_map("one")),
        post(MAPS, {"metadata": {"name": "two"}}),
        post(WIDGETS, {"metadata": {"name": "two"}}),
    ),
    "a namespace that is not there": (
        post("/api/v1/namespaces/nowhere-at-all/configmaps", config_map("one")),
        post("/apis/tests.example/v1/namespaces/nowhere-at-all/widgets", widget("one")),
        get("/api/v1/namespaces/nowhere-at-all/configmaps"),
        get("/api/v1/namespaces/nowhere-at-all/configmaps/one"),
    ),
    "a revision on what is new": (
        post(MAPS, config_map("one", metadata={"resourceVersion": "1"})),
        post(WIDGETS, widget("one", metadata={"resourceVersion": "1"})),
    ),
    "a replacement that knows no revision": (
        post(MAPS, config_map("one", data={"a": "1"})),
        put(f"{MAPS}/one", config_map("one", data={"a": "2"})),
        post(WIDGETS, widget("one")),
        put(f"{WIDGETS}/one", widget("one")),
    ),
    "a replacement of an old revision": (
        post(MAPS, config_map("one")),
        put(f"{MAPS}/one", config_map("one", metadata={"resourceVersion": "1"})),
        post(WIDGETS, widget("one")),
        put(f"{WIDGETS}/one", widget("one", metadata={"resourceVersion": "1"})),
        put(f"{WIDGETS}/one", widget("one", metadata={"resourceVersion": "nonsense"})),
        put(f"{MAPS}/one", config_map("one", metadata={"resourceVersion": "nonsense"})),
    ),
    "a replacement of another life": (
        post(MAPS, config_map("one")),
        put(f"{MAPS}/one", config_map("one", metadata={"uid": "00000000-0000-4000-8000-000000000000"})),
    ),
    "a replacement of nothing": (
        put(f"{MAPS}/one", config_map("one")),
        put(f"{WIDGETS}/one", widget("one")),
        put(f"{WIDGETS}/one", widget("one", metadata={"resourceVersion": "7"})),
        put(f"{MAPS}/one", config_map("one", metadata={"resourceVersion": "7"})),
    ),
    "an object with a finalizer waits": (
        post(MAPS, config_map("one", metadata=HELD)),
        delete(f"{MAPS}/one"),
        delete(f"{MAPS}/one"),
        merge(f"{MAPS}/one", {"metadata": {"finalizers": ["tests.example/hold", "tests.example/more"]}}),
        merge(f"{MAPS}/one", {"metadata": {"labels": {"a": "b"}}}),
        merge(f"{MAPS}/one", {"metadata": {"finalizers": None}}),
        get(f"{MAPS}/one"),
    ),
    "a custom object with a finalizer waits": (
        post(WIDGETS, widget("one", metadata=HELD)),
        delete(f"{WIDGETS}/one"),
        delete(f"{WIDGETS}/one"),
        merge(f"{WIDGETS}/one", {"metadata": {"finalizers": ["tests.example/hold", "tests.example/more"]}}),
        merge(f"{WIDGETS}/one", {"metadata": {"finalizers": None}}),
        get(f"{WIDGETS}/one"),
    ),
    "deletion under conditions": (
        post(MAPS, config_map("one")),
        delete(f"{MAPS}/one", {**OPTIONS, "preconditions": {"uid": "00000000-0000-4000-8000-000000000000"}}),
        delete(f"{MAPS}/one", {**OPTIONS, "preconditions": {"resourceVersion": "1"}}),
        delete(f"{MAPS}/one", {**OPTIONS, "propagationPolicy": "Sideways"}),
        delete(f"{MAPS}/one", {**OPTIONS, "propagationPolicy": "Orphan", "orphanDependents": True}),
        delete(f"{MAPS}/one", {**OPTIONS, "dryRun": ["All"]}),
        delete(f"{MAPS}/one?dryRun=All"),
        delete(f"{MAPS}/one?dryRun=Some"),
        get(f"{MAPS}/one"),
        delete(f"{MAPS}/one", {**OPTIONS, "gracePeriodSeconds": 0}),
    ),
    "deletion in the foreground holds the object": (
        post(MAPS, config_map("one", metadata=HELD)),
        delete(f"{MAPS}/one", {**OPTIONS, "propagationPolicy": "Foreground"}),
        delete(f"{MAPS}/one", {**OPTIONS, "propagationPolicy": "Orphan"}),
    ),
    "a collection is deleted": (
        post(MAPS, config_map("one", metadata={"labels": {"a": "1"}})),
        post(MAPS, config_map("two", metadata={"labels": {"a": "2"}})),
        delete(f"{MAPS}?labelSelector=a=1"),
        get(f"{MAPS}?labelSelector=a"),
        delete(f"{MAPS}?labelSelector=a"),
    ),
    "a custom collection is deleted": (
        post(WIDGETS, widget("one")),
        post(WIDGETS, widget("two")),
        delete(WIDGETS),
        get(WIDGETS),
    ),
    "dry runs": (
        post(f"{MAPS}?dryRun=All", config_map("one", data={"a": "1"})),
        get(f"{MAPS}/one"),
        post(f"{MAPS}?dryRun=Some", config_map("one")),
        post(MAPS, config_map("one")),
        put(f"{MAPS}/one?dryRun=All", config_map("one", data={"a": "1"})),
        merge(f"{MAPS}/one?dryRun=All", {"data": {"b": "2"}}),
        get(f"{MAPS}/one"),
    ),
    "metadata that only the server writes": (
        post(
            MAPS,
            config_map(
                "one",
                metadata={
                    "uid": "00000000-0000-4000-8000-000000000000",
                    "creationTimestamp": "2001-01-01T00:00:00Z",
                    "deletionTimestamp": "2001-01-01T00:00:00Z",
                    "deletionGracePeriodSeconds": 5,
                    "generation": 7,
                    "selfLink": "/nowhere",
                },
            ),
        ),
        merge(f"{MAPS}/one", {"metadata": {"generation": 9, "creationTimestamp": "2001-01-01T00:00:00Z"}}),
        merge(f"{MAPS}/one", {"metadata": {"deletionTimestamp": "2001-01-01T00:00:00Z"}}),
    ),
    "a claim as it begins": (
        post(CLAIMS, claim("one")),
        put(f"{CLAIMS}/one", claim("one", accessModes=["ReadWriteMany"])),
        merge(f"{CLAIMS}/one", {"spec": {"resources": {"requests": {"storage": "512Mi"}}}}),
        merge(f"{CLAIMS}/one", {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}),
        delete(f"{CLAIMS}/one"),
    ),
    "claims that ask for nonsense": (
        post(CLAIMS, claim("one", accessModes=[])),
        post(CLAIMS, claim("one", accessModes=["ReadSometimes"])),
        post(CLAIMS, claim("one", resources={})),
        post(CLAIMS, claim("one", resources={"requests": {"storage": "0"}})),
        post(CLAIMS, claim("one", resources={"requests": {"storage": "much"}})),
        post(CLAIMS, claim("one", volumeMode="Round")),
        post(CLAIMS, claim("one", storageClassName="Not A Name")),
        post(CLAIMS, claim("one", accessModes=["ReadWriteOncePod", "ReadWriteOnce"])),
    ),
    "a pod as it begins": (post(PODS, pod("one")), get(f"{PODS}/one")),
    "pods that ask for nonsense": (
        post(PODS, pod("one", containers=[])),
        post(PODS, pod("one", containers=[{"name": "main"}])),
        post(PODS, pod("one", containers=[{"name": "Main", "image": "x"}])),
        post(PODS, pod("one", restartPolicy="Sometimes")),
        post(PODS, pod("one", containers=[{"name": "a", "image": "x"}, {"name": "a", "image": "x"}])),
        post(
            PODS,
            pod(
                "one",
                containers=[{"name": "a", "image": "x", "volumeMounts": [{"name": "no", "mountPath": "/x"}]}],
            ),
        ),
    ),
    "what a pod may not change": (
        post(PODS, pod("one")),
        merge(f"{PODS}/one", {"spec": {"hostNetwork": True}}),
        merge(f"{PODS}/one", {"metadata": {"labels": {"a": "b"}}}),
        merge(f"{PODS}/one/status", {"status": {"phase": "Running"}}),
    ),
    "a secret": (
        post(SECRETS, {"metadata": {"name": "one"}, "stringData": {"user": "me"}}),
        post(SECRETS, {"metadata": {"name": "two"}, "data": {"user": "not base64!"}}),
        merge(f"{SECRETS}/one", {"type": "Other"}),
        merge(f"{SECRETS}/one", {"stringData": {"user": "you", "more": "1"}}),
        merge(f"{SECRETS}/one", {"immutable": True}),
        merge(f"{SECRETS}/one", {"stringData": {"user": "them"}}),
    ),
    "entries out of rule": (
        post(MAPS, config_map("one", data={"a b": "1"})),
        post(MAPS, config_map("one", data={"a": "1"}, binaryData={"a": "MQ=="})),
        post(MAPS, config_map("one", data={"a": 1})),
        post(MAPS, config_map("one", data=["a"])),
        post(MAPS, config_map("one", immutable=True, data={"a": "1"})),
        merge(f"{MAPS}/one", {"data": {"a": "2"}}),
        merge(f"{MAPS}/one", {"immutable": False}),
    ),
    "fields that nobody knows": (
        post(MAPS, config_map("one", nonsense=1)),
        post(f"{MAPS}?fieldValidation=Strict", config_map("two", nonsense=1)),
        post(f"{MAPS}?fieldValidation=Ignore", config_map("three", nonsense=1)),
        post(f"{MAPS}?fieldValidation=Other", config_map("four", nonsense=1)),
        post(DISKS, disk("one", nonsense={"a": 1})),
        post(f"{DISKS}?fieldValidation=Strict", disk("two", nonsense={"a": 1})),
        post(f"{DISKS}?fieldValidation=Ignore", disk("three", nonsense={"a": 1})),
        merge(f"{DISKS}/one?fieldValidation=Strict", {"spec": {"nonsense": 1}}),
        merge(f"{MAPS}/one?fieldValidation=Strict", {"nonsense": 1}),
    ),
    "a Service": (
        post(
            SERVICES,
            {
                "metadata": {"name": "one"},
                "spec": {"clusterIP": "None", "ports": [{"port": 80}], "selector": {"a": "b"}},
            },
        ),
    ),
}
