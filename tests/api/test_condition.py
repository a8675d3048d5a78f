"""Conditions keep their times for as long as they say the same."""

from diskyard.api.condition import timed
from diskyard.api.meta import Condition, Obj

HELD: Obj = {
    "status": {
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "Error",
                "lastTransitionTime": "t",
                "lastHeartbeatTime": "h",
            }
        ]
    }
}


def times(condition: Condition) -> tuple[str, str]:
    found = timed(HELD, [condition], "now", heartbeats=True)[0]
    return found["lastTransitionTime"], found["lastHeartbeatTime"]


def test_what_says_the_same_keeps_both_times() -> None:
    assert times(Condition("Ready", "False", "Error")) == ("t", "h")


def test_other_words_move_the_heartbeat_only() -> None:
    assert times(Condition("Ready", "False", "Error", "more words")) == ("t", "now")


def test_another_status_moves_both() -> None:
    assert times(Condition("Ready", "True")) == ("now", "now")


def test_a_condition_that_was_not_there_begins_now() -> None:
    assert timed({}, [Condition("Ready", "True")], "now") == [
        {"type": "Ready", "status": "True", "lastTransitionTime": "now"}
    ]
