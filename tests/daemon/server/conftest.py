import pytest

from rigs.desk import serving


@pytest.fixture
def served(tmp_path):
    with serving(tmp_path) as served:
        yield served


@pytest.fixture
def pos(served):
    from rigs.pos import Pos

    with Pos(served.path) as pos:
        yield pos
