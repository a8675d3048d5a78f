"""Where our server answers otherwise than a real one on purpose. docs/differences.md says why, under the same names."""

from collections.abc import Mapping

DIFFERENCES: Mapping[str, Mapping[tuple[str, str], tuple[int, ...]]] = {
    "admission": {
        ("patches", "a strategic patch of a pod"): (3, 4, 5, 6, 7, 8, 9),
    },
    "definitions": {
        ("reads", "tables of Kubernetes' own kinds"): (13,),
    },
    "forms": {
        ("reads", "metadata alone"): (3,),
        ("reads", "a table of custom objects"): (9,),
        ("reads", "forms that are not written"): (1, 2, 4, 6),
    },
    "keys": {
        ("reads", "who signs tokens"): (0, 2, 8, 9),
    },
    "methods": {
        ("reads", "methods that are not allowed"): (4, 5, 12),
    },
    "mistakes": {
        ("writes", "a revision on what is new"): (0, 1),
        ("writes", "a replacement of an old revision"): (4, 5),
        ("applies", "what cannot be applied"): (1, 6, 7, 10),
        ("applies", "lists of named things, sets and wholes"): (8, 9),
        ("applies", "what is applied must be valid"): (1, 2, 3),
        ("reads", "revisions of lists"): (11, 12),
        ("reads", "metadata alone"): (4,),
    },
    "nowhere": {
        ("patches", "the status apart"): (7,),
        ("schemas", "an old version"): (4, 5),
        ("reads", "what is not there"): (2, 3, 4, 5, 6, 9, 10),
        ("reads", "methods that are not allowed"): (8,),
        ("reads", "discovery of one group"): (3,),
        ("reads", "how the server is"): (3, 7, 11, 15),
        ("reads", "who signs tokens"): (4,),
    },
    "patches": {
        ("patches", "a JSON patch"): (10,),
        ("patches", "a strategic patch of a ConfigMap"): (4,),
        ("writes", "fields that nobody knows"): (7, 8),
        ("patches", "a merge patch"): (8, 9),
        ("patches", "a merge patch of a custom object"): (5,),
        ("patches", "a strategic patch of a pod"): (10,),
        ("schemas", "strict about unknown fields"): (6,),
    },
    "phantoms": {
        ("patches", "the status apart"): (2, 4, 5),
    },
    "rules": {
        ("schemas", "rules that a server looks at beforehand"): (0, 1, 2),
    },
    "tables": {
        ("reads", "a table of custom objects"): (4, 8),
        ("reads", "tables of Kubernetes' own kinds"): (1, 7),
    },
    "words": {
        ("writes", "no name at all"): (1,),
        ("writes", "claims that ask for nonsense"): (1, 4),
        ("writes", "pods that ask for nonsense"): (2,),
        ("patches", "a strategic patch of a pod"): (2, 11),
        ("patches", "the status apart"): (3,),
        ("schemas", "wrong types"): (9, 13, 14, 15),
        ("schemas", "definitions that are not right"): (0,),
        ("reads", "lists in pieces"): (4, 5, 6),
        ("reads", "revisions of lists"): (8, 4, 15),
        ("reads", "the namespace itself"): (5,),
        ("writes", "an object of another kind"): (0, 3),
        ("writes", "a replacement of another life"): (1,),
        ("writes", "a claim as it begins"): (1, 2, 3),
        ("writes", "what a pod may not change"): (1,),
        ("writes", "a secret"): (1,),
        ("writes", "entries out of rule"): (2, 3),
        ("patches", "a merge patch"): (12,),
        ("patches", "a merge patch of a custom object"): (7,),
        ("patches", "a JSON patch"): (16,),
        ("patches", "patches of an unknown type"): (1, 2),
        ("applies", "what cannot be applied"): (8, 9),
        ("applies", "null where there is no room for it"): (9,),
        ("schemas", "strict about unknown fields"): (4,),
        ("reads", "label selectors"): (11, 12, 13, 14, 15),
        ("reads", "bodies that cannot be read"): (0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 15),
    },
    "zeros": {
        ("writes", "metadata that only the server writes"): (0, 1),
        ("patches", "a strategic patch of conditions"): (1, 2, 3, 4, 5),
        ("reads", "tables of pods in all their states"): (1, 3, 5, 7, 10),
    },
}
"""By reason: chapter, story, and which of its requests (from 0)."""


def apart(chapter: str, sentence: str) -> set[int]:
    """Which requests of a story ours answers otherwise."""
    return {index for where in DIFFERENCES.values() for index in where.get((chapter, sentence), ())}


Fragments = tuple[str, str]
"""What a real server's answer has in it, and what ours has; each in that answer only."""
COMMANDS: Mapping[str, Mapping[str, Fragments]] = {
    "explain": {
        "explain widget": ("Servers should convert recognized schemas", "The version of the API."),
        "explain widget --api-version=tests.example/v1alpha1": (
            "Servers should convert recognized schemas",
            "The version of the API.",
        ),
        "explain widget --recursive": (
            "managedFields	<[]ManagedFieldsEntry>",
            "managedFields	<[]Object>",
        ),
    },
    "groups": {
        "version": ("Server Version: v1.34", "+diskyard"),
        "api-versions": ("apps/v1", "subresources.kubevirt.io/v1"),
        "cluster-info dump --namespaces PLACE": ("DaemonSetList", "could not find the requested resource"),
    },
    "limits": {
        "describe namespace PLACE": ("No LimitRange resource.", "No resource quota."),
    },
    "words": {
        "get configmap -l 'app in (x'": ("found '', expected: ',' or ')'", "is not key=value"),
    },
}
"""By reason: what people type (`commands.txt`)."""
