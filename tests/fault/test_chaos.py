"""A minute of faults at random, the same each time (chaos.py runs longer ones and other seeds by hand)."""

from chaos import WORLD, rampage


def test_a_minute_of_chaos_breaks_no_promise(fault_worlds):
    rampage(fault_worlds(**WORLD), seed=20, seconds=60)
