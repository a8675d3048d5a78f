"""Every story, and how one is told to a server."""

import itertools
import os
from collections.abc import Mapping
from typing import Any

from diskyard.api.meta import CONFIG_MAP, NAMESPACE, SERVICE_ACCOUNT
from diskyard.kube.client import Selection
from tests import builders
from tests.builders import eventually
from tests.conformance.exchange import Line
from tests.conformance.stories import Stories, Story, applies, patches, reads, schemas, writes

CHAPTERS: Mapping[str, Stories] = {
    "writes": writes.STORIES,
    "patches": patches.STORIES,
    "applies": applies.STORIES,
    "schemas": schemas.STORIES,
    "reads": reads.STORIES,
}
_numbers = itertools.count(1)


def told(line: Line, story: Story) -> list[dict[str, Any]]:
    """What the server answers to each request of the story, in a namespace of its own."""
    name = place(line)
    return [line.ask(request, name).wire() for request in story]


def place(line: Line) -> str:
    """A new namespace, once it has what every namespace has."""
    name = f"story-{os.getpid()}-{next(_numbers)}-x"
    client = line.server.client
    client.create(NAMESPACE, builders.namespace(name))
    eventually(lambda: client.list(SERVICE_ACCOUNT, Selection(name)).items, 60)
    eventually(lambda: client.list(CONFIG_MAP, Selection(name)).items, 60)
    return name
