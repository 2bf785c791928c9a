import pytest
from world import World

import alilocal
from hpoq.testing import FakeClock


@pytest.fixture
def world():
    with alilocal.LocalCloud() as cloud:
        cloud.queues.create("hpo-requests")
        cloud.topics.create("hpo-results")
        yield World(cloud, FakeClock(cloud.clock.now()))
