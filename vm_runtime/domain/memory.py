"""Where the guest's memory comes from, where it is not the usual. Pure."""

from collections.abc import Iterator

from lxml.builder import E
from lxml.etree import _Element as Element

from diskyard.api import quantity
from diskyard.api.instance import Instance, part


def backing(instance: Instance) -> Iterator[Element]:
    """`<memoryBacking>` for huge pages: out of an anonymous file, so that no file system of theirs is needed."""
    page = part(part(instance.domain, "memory"), "hugepages").get("pageSize")
    if page:
        pages = E.hugepages(E.page(size=str(quantity.parse(page)), unit="b"))
        yield E.memoryBacking(pages, E.source(type="memfd"))
