"""Label selectors as they stand in objects: whom they mean, and how one writes them. Pure."""

from collections.abc import Mapping
from typing import Final

from diskyard.api.meta import Obj

OPERATORS: Final = {"In": "in", "NotIn": "notin", "Exists": "", "DoesNotExist": "!"}


def fits(selector: Obj, labels: Mapping[str, str]) -> bool:
    """Whether labels fulfil all of a selector; an empty one means everything."""
    equal = all(labels.get(name) == text for name, text in (selector.get("matchLabels") or {}).items())
    return equal and all(_holds(rule, labels) for rule in selector.get("matchExpressions") or ())


def written(selector: Obj) -> str:
    """The selector as `-l` takes it."""
    terms = [f"{name}={value}" for name, value in (selector.get("matchLabels") or {}).items()]
    for rule in selector.get("matchExpressions") or ():
        name, operator = str(rule.get("key", "")), str(rule.get("operator", ""))
        if operator in ("In", "NotIn"):
            terms.append(f"{name} {OPERATORS[operator]} ({','.join(map(str, rule.get('values') or ()))})")
        else:
            terms.append(f"{OPERATORS.get(operator, '!')}{name}")
    return ",".join(terms)


def _holds(rule: Obj, labels: Mapping[str, str]) -> bool:
    name, values = str(rule.get("key")), rule.get("values") or ()
    answers = {
        "In": labels.get(name) in values,
        "NotIn": labels.get(name) not in values,
        "Exists": name in labels,
        "DoesNotExist": name not in labels,
    }
    return answers.get(str(rule.get("operator")), False)
