"""Rules in CEL: Kubernetes' own libraries say the same here as on a real server."""

import itertools
import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from diskyard.api import meta
from diskyard.api.meta import CRD, Key, Kind, Obj
from diskyard.errors import Invalid, NotFound, TooManyRequests
from diskyard.kube.client import Client
from tests import builders
from tests.builders import eventually
from tests.conformance.chapters import place
from tests.conformance.exchange import Line

_numbers = itertools.count(1)
RULES = {
    "strings": (
        "self.lowerAscii().trim().replace('a', 'b') == 'bcb' && self.split('c')[0].size() > 0",
        "AcA",
        "x",
    ),
    "substrings": (
        "self.substring(1, 3) == 'bc' && self.indexOf('c') == 2 && self.charAt(0) == 'a'",
        "abcd",
        "xxxx",
    ),
    "last": ("self.lastIndexOf('b') == 0", "b", "c"),
    "formatted": ("'%s is %d'.format([self, 3]) == 'a is 3'", "a", "b"),
    "patterns": ("self.find('[0-9]+') == '12' && self.findAll('[a-z]').size() == 2", "a12b", "abc"),
    "urls": (
        "isURL(self) && url(self).getHostname() == 'example.com' && url(self).getPort() == '80' && "
        "url(self).getScheme() == 'http' && url(self).getEscapedPath() == '/a'",
        "http://example.com:80/a",
        "nothing",
    ),
    "addresses": ("isIP(self) && ip(self).family() == 4 && ip(self).isLoopback()", "127.0.0.1", "10.0.0.1"),
    "networks": (
        "isCIDR(self) && cidr(self).containsIP('10.1.2.3') && cidr(self).prefixLength() == 8 && "
        "cidr(self).containsCIDR('10.1.0.0/16')",
        "10.0.0.0/8",
        "11.0.0.0/8",
    ),
    "quantities": (
        "isQuantity(self) && quantity(self).isGreaterThan(quantity('1Gi')) && quantity(self).asInteger() > 0 && "
        "quantity(self).compareTo(quantity('2Gi')) == 0 && quantity(self).add(1).isGreaterThan(quantity('2Gi'))",
        "2048Mi",
        "1Mi",
    ),
    "lists": (
        "[1, 2].isSorted() && [1, 2].sum() == 3 && [1, 2].max() == 2 && [1, 2].min() == 1 && [2, 1].indexOf(1) == 1 "
        "&& self == 'yes'",
        "yes",
        "no",
    ),
    "sets": ("sets.contains(['yes', 'well'], [self]) && sets.intersects([self], ['yes'])", "yes", "no"),
    "optional elements": ("[self][?0].orValue('x') == 'yes' && ![self][?1].hasValue()", "yes", "no"),
    "optional entries": (
        "{'a': self}.?a.orValue('') == 'yes' && !{'a': self}.?b.hasValue() && {?'a': {'b': self}.?b}.size() == 1",
        "yes",
        "no",
    ),
    "optional values": (
        "optional.of(self).optMap(x, x.size()).orValue(0) == 3 && optional.none().or(optional.of(1)).value() == 1",
        "yes",
        "no",
    ),
    "two variables": (
        "[self].all(i, v, i == 0 && v == 'yes') && {'a': self}.exists(k, v, k == 'a' && v == 'yes')",
        "yes",
        "no",
    ),
    "transformed": (
        "[self].transformList(i, v, v + 'x') == ['yesx'] && {'a': self}.transformMap(k, v, v + 'x')['a'] == 'yesx' && "
        "{'a': self}.transformMapEntry(k, v, {v: k})['yes'] == 'a'",
        "yes",
        "no",
    ),
    "formats": (
        "!format.dns1123Label().validate(self).hasValue() && format.named('uuid').value().validate(self).hasValue()",
        "a-b",
        "A_b",
    ),
    "whatever fails beside it": ("1 / int(self) == 1 || self == '0'", "0", "5"),
    "overflow": ("int(self) + 9223372036854775807 > 0", "0", "5"),
    "times": (
        "timestamp(self).getHours('+02:00') == 5 && duration('90m').getMinutes() == 90",
        "2024-01-02T03:04:05Z",
        "2024-01-02T04:04:05Z",
    ),
    "broken off": ("quantity(self).isGreaterThan(quantity('1'))", "2", "many"),
}
"""By name: a rule of a text, one that keeps it and one that does not."""


def definition(name: str) -> Obj:
    fields = {
        f"rule{index}": {
            "type": "string",
            "maxLength": 30,
            "x-kubernetes-validations": [{"rule": rule, "message": f"not {named}"}],
        }
        for index, (named, (rule, _, _)) in enumerate(RULES.items())
    }
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {
        "kind": name.capitalize(),
        "plural": f"{name}s",
        "singular": name,
        "listKind": f"{name.capitalize()}List",
    }
    spec = {"group": "rules.example", "scope": "Namespaced", "names": names, "versions": [version]}
    return builders.some(CRD, f"{name}s.rules.example", spec=spec)


@pytest.fixture(scope="module")
def ruled(line: Line) -> Iterator[Kind]:
    """A kind with all these rules."""
    name, client = f"ruled{os.getpid()}x{next(_numbers)}", line.server.client
    made = client.create(CRD, definition(name))
    kind = Kind("rules.example", "v1", name.capitalize(), f"{name}s")

    def served() -> bool:
        with suppress(NotFound, TooManyRequests):  # a new kind is not there at once, nor its storage
            client.list(kind)
            return True
        return False

    eventually(served, 60)
    yield kind
    client.delete(CRD, Key(meta.name(made)))


@pytest.fixture(scope="module")
def where(line: Line) -> str:
    return place(line)


def put(client: Client, kind: Kind, where: str, rule: str, text: str) -> Obj:
    spec = {f"rule{list(RULES).index(rule)}": text}
    return client.create(kind, builders.some(kind, f"one-{next(_numbers)}", where, spec=spec))


@pytest.mark.parametrize("rule", RULES)
def test_who_keeps_a_rule_comes_in_and_who_does_not_is_told(
    line: Line, ruled: Kind, where: str, rule: str
) -> None:
    _, kept, broken = RULES[rule]

    assert put(line.server.client, ruled, where, rule, kept)
    with pytest.raises(Invalid) as refused:
        put(line.server.client, ruled, where, rule, broken)
    (cause,) = refused.value.causes
    assert cause.field == f"spec.rule{list(RULES).index(rule)}"
    assert cause.reason == "FieldValueInvalid"


@pytest.mark.parametrize("rule", ["self +", "nobody == self", "cel.bind(x, self, x) == 'a'", "self == 'a' b"])
def test_a_definition_with_a_rule_that_cannot_be_read_is_refused(line: Line, rule: str) -> None:
    crd = definition(f"unread{os.getpid()}x{next(_numbers)}")
    fields = meta.spec(crd)["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    fields["rule0"]["x-kubernetes-validations"] = [{"rule": rule}]

    with pytest.raises(Invalid) as refused:
        line.server.client.create(CRD, crd)

    place = (
        "spec.validation.openAPIV3Schema.properties[spec].properties[rule0].x-kubernetes-validations[0].rule"
    )
    assert [(cause.field, cause.reason) for cause in refused.value.causes] == [(place, "FieldValueInvalid")]
    assert "compilation failed: ERROR: " in str(refused.value)
