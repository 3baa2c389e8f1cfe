#!/usr/bin/python3
"""
Faults at random from a seed, while clients go on; then everything is healed and compared.

  chaos.py --seed 7 --seconds 600

FANFARE_BIN names the programs. Prints each fault as it begins. Exit code 0: no difference, every promise was kept.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":
    sys.path[:0] = [os.path.join(ROOT, "deploy"), os.path.join(ROOT, "tests")]

from support.faults import FaultWorld, Load, crowd, failpoints_of  # noqa: E402

WORLD = {"feedd_count": 2, "fanoutd_count": 2, "options": {"feedd.threads": "2", "timeline.cap": 60, "timeline.slack": 20}}
STOPPING = ("feedd.publish.after_commit", "feedd.write.after_commit", "invalidate.before_delete", "fanout.after_push", "fanout.after_confirm",
            "fanout.before_ack", "sweep.after_add", "rebuild.after_query", "cache.before_swap")


class Chaos:
    def __init__(self, world, seed, say=print):
        self.world = world
        self.rng = random.Random(seed)
        self.say = say
        unknown = set(STOPPING) - set(failpoints_of("feedd", "fanoutd", "common"))
        assert not unknown, f"no such failpoints: {unknown}"

    def part(self):
        stack = self.world.stack
        groups = [stack.redis, stack.memcached, stack.feedd, stack.fanoutd, [stack.postgres]]
        return self.rng.choice(self.rng.choices(groups, (4, 4, 3, 5, 1))[0])

    def kill(self):
        part, away = self.part(), self.rng.choice((0, 0.3, 1, 3))
        self.say(f"kill {part.name}, back after {away} s")
        part.kill()
        time.sleep(away)
        self.world.restart(part)

    def freeze(self):
        part, seconds = self.part(), self.rng.choice((0.1, 0.5, 2, 4))
        self.say(f"freeze {part.name} for {seconds} s")
        with self.world.frozen(part):
            time.sleep(seconds)

    def flush(self):
        server = self.rng.choice(self.world.stack.redis + self.world.stack.memcached)
        self.say(f"empty {server.name}")
        self.world.flush(server)

    def place(self):
        self.say("every slot moves to a new generation")
        self.world.stack.register_nodes()

    def fail(self):
        daemon, point = self.rng.choice(self.world.stack.daemons), self.rng.choice(STOPPING)
        action = self.rng.choice(("abort", "error*3"))
        self.say(f"{daemon.name} meets {point}={action}")
        self.world.arm(f"{point}={action}", daemon)
        time.sleep(self.rng.choice((0.5, 2)))
        self.world.arm("", daemon)
        if not daemon.alive():
            self.world.restart(daemon)

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.rng.choices((self.kill, self.freeze, self.flush, self.place, self.fail), (4, 4, 2, 1, 4))[0]()
            time.sleep(self.rng.choice((0, 0.2, 1)))


def rampage(world, seed, seconds, say=print):
    people = crowd(world, 40, seed=seed)
    with Load(world, people, seed=seed, may_disconnect=True) as load:
        Chaos(world, seed, say).run(seconds)
    say(f"{len(load.posts)} posts, answers {load.statuses}, slowest {load.slowest[0]:.2f} s ({load.slowest[1]})")
    load.check(depth=WORLD["options"]["timeline.cap"] // 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--keep", action="store_true", help="leave the folder (logs) behind")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="fanfare-chaos-")
    os.chmod(folder, 0o755)
    world = FaultWorld(folder, **WORLD)
    began = time.monotonic()
    try:
        world.start()
        rampage(world, arguments.seed, arguments.seconds, lambda text: print(f"{time.monotonic() - began:7.1f} {text}", flush=True))
    finally:
        complaints = world.stop()
        if arguments.keep:
            print(f"logs in {folder}/log")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(complaints) or "all promises kept")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
