"""Whether a plan shares its tasks with other threads, by a clock that is simulated."""

from __future__ import annotations

import pytest

from tinygraph.plan import sharing
from tinygraph.plan.sharing import Sharing

pytestmark = pytest.mark.host


def replays(choice, clock, count, shared, alone):
    """Let a plan be replayed; return how often it was shared."""
    ways = []
    for _ in range(count):
        ways.append(choice.begin())
        clock[0] += shared if ways[-1] else alone
        choice.end()
    return sum(ways)


def test_a_plan_shares_its_tasks_where_that_is_faster_and_stops_under_load():
    """By a clock that is simulated: a quiet machine, one under load, and a quiet one again."""
    clock = [0]
    choice = Sharing(lambda: clock[0])
    replays(choice, clock, 20, shared=10, alone=18)
    assert replays(choice, clock, 100, shared=10, alone=18) == 100
    replays(choice, clock, 2 * sharing.WINDOW + 2 * (sharing.TRIALS + 1), shared=100, alone=20)
    assert replays(choice, clock, 16 * sharing.SOONEST_ALONE, shared=100, alone=20) <= 5 * (sharing.TRIALS + 1)
    replays(choice, clock, 32 * sharing.SOONEST_ALONE, shared=10, alone=18)  # as long again, and as long
    assert choice.is_shared


def test_a_wrong_choice_to_work_alone_is_soon_mended():
    """The trial fell into a moment at which other work had the processors."""
    clock = [0]
    choice = Sharing(lambda: clock[0])
    replays(choice, clock, 20, shared=100, alone=20)
    assert not choice.is_shared
    replays(choice, clock, sharing.SOONEST_ALONE + 2 * (sharing.TRIALS + 1), shared=10, alone=18)
    assert choice.is_shared


def test_what_is_usual_is_tried_less_and_less_often():
    clock = [0]
    choice = Sharing(lambda: clock[0])
    count = 4 * sharing.LATEST
    others = count - replays(choice, clock, count, shared=10, alone=18)
    assert (sharing.TRIALS + 1) * 5 < others < (sharing.TRIALS + 1) * 12


def test_one_slow_replay_is_no_reason_to_try_anew():
    clock = [0]
    choice = Sharing(lambda: clock[0])
    replays(choice, clock, 20, shared=10, alone=18)
    replays(choice, clock, 1, shared=30, alone=18)
    assert replays(choice, clock, 100, shared=10, alone=18) == 100


def test_threads_that_sleep_while_one_works_alone_are_not_held_against_sharing():
    clock = [0]
    choice = Sharing(lambda: clock[0])
    alone_before = True
    for _ in range(4 * sharing.SOONEST):
        shared = choice.begin()
        clock[0] += 18 if not shared else 30 if alone_before else 10
        alone_before = not shared
        choice.end()
    assert choice.is_shared


def test_a_replay_after_every_pause_may_be_slow():
    clock = [0]
    choice = Sharing(lambda: clock[0])
    replays(choice, clock, 20, shared=10, alone=18)
    for _ in range(20):
        replays(choice, clock, 1, shared=200, alone=200)
        assert replays(choice, clock, sharing.WINDOW - 1, shared=10, alone=18) == sharing.WINDOW - 1
