"""A yard for each test."""

from tests.datavolume_controller.conftest import swift_path
from tests.standalone.node.conftest import yard

__all__ = ["swift_path", "yard"]
