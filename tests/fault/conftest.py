"""Worlds for fault tests: each daemon has failpoints of its own, and every test finds all parts up and leaves them so."""

import os
import shutil
import tempfile

import pytest

from support.faults import FaultWorld


@pytest.fixture(scope="session")
def fault_worlds():
    made = []

    def make(**arguments):
        folder = tempfile.mkdtemp(prefix="fanfare-fault-")
        os.chmod(folder, 0o755)
        world = FaultWorld(folder, **arguments)
        made.append((world, folder))
        world.start()
        return world

    yield make
    complaints = []
    for world, folder in made:
        complaints += world.stop()
        shutil.rmtree(folder, ignore_errors=True)
    assert not complaints, complaints


def healed(world):
    world.heal()
    world.settled()
    world.forgive()
    yield world
    world.heal()


@pytest.fixture(scope="session")
def pair_world(fault_worlds):
    return fault_worlds(feedd_count=2)


@pytest.fixture
def pair(pair_world):
    """Two feedd of one worker each (one can be held while the other serves), one fanoutd."""
    yield from healed(pair_world)


@pytest.fixture(scope="session")
def crew_world(fault_worlds):
    return fault_worlds(feedd_count=2, fanoutd_count=2, options={"feedd.threads": "2", "feedd.heavy_connections": "2"})


@pytest.fixture
def crew(crew_world):
    """Two of everything."""
    yield from healed(crew_world)


@pytest.fixture(scope="session")
def hasty_world(fault_worlds):
    return fault_worlds(options={"timeline.lateness": "1s"})


@pytest.fixture
def hasty(hasty_world):
    """One of each daemon; what is older than half a second is late."""
    yield from healed(hasty_world)
