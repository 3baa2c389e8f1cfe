"""Fixtures shared by the end-to-end and fault tests. The daemons are only spoken to from outside: HTTP, signals, their servers."""

import os
import shutil
import sys
import tempfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "deploy"), os.path.join(ROOT, "tests")]

from support.world import World  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "fast: part of make check")
    config.addinivalue_line("markers", "sanitized: repeated with AddressSanitizer and UndefinedBehaviorSanitizer")
    config.addinivalue_line("markers", "threads: repeated with ThreadSanitizer")


@pytest.fixture(scope="session")
def world_factory():
    """Makes stacks of one's own: world_factory(options={...}, feedd_count=2, ...). All are stopped and deleted at the end."""
    made = []

    def make(**arguments):
        folder = tempfile.mkdtemp(prefix="fanfare-e2e-")
        os.chmod(folder, 0o755)
        world = World(folder, **arguments)
        made.append((world, folder))
        world.start()
        return world

    yield make
    leaks = []
    for world, folder in made:
        leaks += world.stop()
        shutil.rmtree(folder, ignore_errors=True)
    assert not leaks, leaks


@pytest.fixture(scope="session")
def shared_world(world_factory):
    """The stack that most tests share."""
    return world_factory()


@pytest.fixture
def world(shared_world):
    """The shared stack, every part up and no failpoint armed when the test begins and after it ended."""
    shared_world.heal()
    yield shared_world
    shared_world.heal()
