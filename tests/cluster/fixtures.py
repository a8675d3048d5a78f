"""The real control plane as tests get it: started once for each worker that has a test for it."""

from collections.abc import Iterator

import pytest

from tests.cluster.server import STRANGER, Cluster, cluster


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real Kubernetes: RBAC, aggregation, garbage collection. Its tests are marked `cluster`."""
    with cluster(tmp_path_factory.mktemp("cluster"), [STRANGER]) as running:
        yield running
