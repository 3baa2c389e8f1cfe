"""
Servers and daemons are killed, frozen, emptied and refused while clients go on publishing, reading, following and deleting. No 5xx but 503
with Retry-After; every 201 is there once; what a 204 hid stays hidden; afterwards every feed equals the oracle and is resident again.
"""

import time

import pytest

from servers import talk
from support.faults import Load, crowd


@pytest.fixture(scope="module")
def people(crew_world):
    return crowd(crew_world, 40)


def away(part, seconds):
    def fault(world):
        part(world).kill()
        time.sleep(seconds)
        world.restart(part(world))
    return fault


def frozen(part, seconds):
    def fault(world):
        with world.frozen(part(world)):
            time.sleep(seconds)
    return fault


def emptied(world):
    for server in world.stack.redis + world.stack.memcached:
        world.flush(server)
        time.sleep(0.5)


def fanoutd_killed_again_and_again(world):
    for i in range(6):
        world.stack.fanoutd[i % 2].kill()
        time.sleep(0.4)
        world.restart(world.stack.fanoutd[i % 2])


def daemons_frozen(world):
    with world.frozen(world.stack.fanoutd[0], world.stack.feedd[0]):
        time.sleep(3)


def postgres_restarted_fast(world):
    world.stack.postgres.stop()
    time.sleep(1)
    world.restart(world.stack.postgres)


def queue_redis(world):
    return world.stack.redis[0]


def other_redis(world):
    return world.stack.redis[1]


def memcached(number):
    return lambda world: world.stack.memcached[number]


def feedd(world):
    return world.stack.feedd[0]


def postgres(world):
    return world.stack.postgres


FAULTS = {
    "redis killed": away(other_redis, 3),
    "queue's redis killed, away for 5 s": away(queue_redis, 5),
    "redis frozen for 10 s": frozen(other_redis, 10),
    "queue's redis frozen": frozen(queue_redis, 3),
    "memcached killed": away(memcached(0), 2),
    "memcached frozen": frozen(memcached(1), 3),
    "all caches emptied": emptied,
    "fanoutd killed every 0.4 s": fanoutd_killed_again_and_again,
    "feedd killed": away(feedd, 0.5),
    "fanoutd and feedd frozen": daemons_frozen,
    "postgres killed": away(postgres, 0.5),
    "postgres restarted": postgres_restarted_fast,
}
DISCONNECTING = {"feedd killed"}
SANITIZED = {"redis killed", "memcached frozen", "all caches emptied", "feedd killed", "postgres killed"}
THREADS = {"queue's redis frozen", "memcached killed"}


def marks(name):
    return [pytest.mark.sanitized] * (name in SANITIZED) + [pytest.mark.threads] * (name in THREADS)


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in FAULTS])
def test_clients_are_served_right_through_a_fault(crew, people, name):
    with Load(crew, people, seed=len(name), may_disconnect=name in DISCONNECTING) as load:
        FAULTS[name](crew)
        time.sleep(1)
    load.check()


def keys_on(server):
    """How many entries a cache node holds."""
    if hasattr(server, "megabytes"):
        lines = talk(server.address, b"stats\r\n").decode().split("\r\n")
        return next(int(line.split()[2]) for line in lines if line.startswith("STAT curr_items"))
    return int(talk(server.address, b"DBSIZE\r\n").decode().strip()[1:])


@pytest.mark.sanitized
@pytest.mark.parametrize("kind", ["redis", "memcached"])
def test_a_node_that_died_is_ejected_and_serves_again_when_it_is_back(crew, people, kind):
    node = getattr(crew.stack, kind)[1]
    states = f"SELECT DISTINCT state FROM cache_nodes WHERE name = '{node.name}'"
    people[0].publish("read by those who follow him")
    node.kill()

    def some_tier_noticed():  # one that nobody uses meanwhile need not
        for reader in people:
            assert reader.get("/v1/me/feed").status_code == 200, "a dead cache node must not fail a read"
        return "ejected" in crew.sql(states).split()

    crew.until("ejection", some_tier_noticed)
    crew.drained()
    crew.green()
    crew.restart(node)
    assert keys_on(node) == 0
    crew.settled()
    assert crew.sql(states) == "active"
    crew.resident_again()
    assert keys_on(node) > 0, "it is back, but holds nothing"
