"""A yard for each test."""

from tests.standalone.node.conftest import yard

__all__ = ["yard"]
