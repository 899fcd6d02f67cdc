"""What crosses the network is written once, in whichever way, in the same words."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cwm_env import wire
from cwm_env.types import CommandResult

_VALUES = {
    "output": st.text(),
    "exit_code": st.integers(-1, 255),
    "cwd": st.text(),
    "duration": st.floats(0, 1e6),
    "timed_out": st.booleans(),
    "truncated_bytes": st.integers(0),
    "late_output": st.text(),
    "output_file": st.none() | st.text(),
    "surviving_jobs": st.lists(st.text()).map(tuple),
    "cpu_time": st.none() | st.floats(0, 1e6),
    "peak_memory": st.none() | st.integers(0),
    "limits_hit": st.lists(st.sampled_from(["memory", "disk"])).map(tuple),
}


@settings(max_examples=100, deadline=None)
@given(values=st.fixed_dictionaries(_VALUES), observation=st.text(), reward=st.floats(0, 1), over=st.booleans())
def test_a_step_is_told_in_the_same_words_on_the_short_way(
    values: dict[str, Any], observation: str, reward: float, over: bool
) -> None:
    info = {"task": "t", "image": "i", "turns_left": 1, "result": CommandResult.made(**values)}
    answer = wire.encode_stepped((observation, reward, over, not over, info))
    told = json.loads(answer)
    assert told["info"] == json.loads(wire.dumps(wire.encode_info({**info, "result": CommandResult(**values)})))
    assert wire.dumps(told) == answer
    assert wire.decode_stepped(told) == (observation, reward, over, not over, info)
