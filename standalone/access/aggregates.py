"""ClusterRoles that are put together from others, by label; and the roles that every yard begins with."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from diskyard.api import meta
from diskyard.api.meta import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, Key, Kind, Obj
from diskyard.api.names import kubernetes
from diskyard.api.selector import written
from diskyard.errors import AlreadyExists
from diskyard.kube.client import Client
from diskyard.kube.reconcile import NOTHING, Merge, Plan, everything, find
from standalone.access import builtin, kubevirt
from standalone.store import selector


@dataclass(frozen=True)
class World:
    """A role that is put together, and all roles."""

    role: Obj
    roles: tuple[Obj, ...]


class Aggregates:
    """Keeps the rules of such roles what their parts say."""

    kind: Kind = CLUSTER_ROLE
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {CLUSTER_ROLE: everything}

    def gather(self, client: Client, key: Key) -> World | None:
        """The role and its possible parts; None: it is not put together."""
        role = find(client, CLUSTER_ROLE, key)
        if role is None or not role.get("aggregationRule"):
            return None
        return World(role, client.list(CLUSTER_ROLE).items)

    def decide(self, world: World) -> Plan:
        """New rules where the parts have others."""
        rules = aggregated(world.role, world.roles)
        if rules == (world.role.get("rules") or []):
            return NOTHING
        return Plan((Merge(CLUSTER_ROLE, meta.key(world.role), {"rules": rules}),))


def aggregated(role: Obj, roles: Iterable[Obj]) -> list[Obj]:
    """The rules of all other roles that the role selects, in order of their names, each once."""
    selectors = (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()
    fits = [selector.labels(written(one)) for one in selectors]
    found: list[Obj] = []
    for part in sorted(roles, key=meta.name):
        if meta.name(part) != meta.name(role) and any(matches(part) for matches in fits):
            found += [rule for rule in part.get("rules") or () if rule not in found]
    return found


def provide(client: Client) -> None:
    """Make the roles and bindings that are missing, whole from the first moment; complete what may be updated."""
    roles = [*builtin.roles(), *kubevirt.roles()]
    for name in ("view", "edit", "admin"):
        role = next(one for one in roles if meta.name(one) == name)
        role["rules"] = aggregated(role, roles)
    for one in roles:
        _provide(client, CLUSTER_ROLE, one, "" if one.get("aggregationRule") else "rules")
    for one in (*builtin.bindings(), *kubevirt.bindings()):
        _provide(client, CLUSTER_ROLE_BINDING, one, "subjects")


def _provide(client: Client, kind: Kind, obj: Obj, field: str) -> None:
    there = find(client, kind, meta.key(obj))
    if there is None:
        with suppress(AlreadyExists):
            client.create(kind, obj)
        return
    if field and meta.annotations(there).get(kubernetes.AUTOUPDATE) == "true":
        kept: list[Any] = there.get(field) or []
        more = [one for one in obj.get(field) or () if one not in kept]
        if more:
            client.patch(kind, meta.key(obj), {field: [*kept, *more]})
