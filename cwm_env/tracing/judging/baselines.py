"""Two models that need no endpoint: one that knows the answers, and one that always says the same."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cwm_env.tracing import tokens
from cwm_env.tracing.format import write_context, write_frame
from cwm_env.tracing.halting import Labelled
from cwm_env.tracing.judging.endpoint import Completion
from cwm_env.tracing.judging.evaluation import split_call
from cwm_env.tracing.judging.prediction import input_prompt
from cwm_env.tracing.traces import Trace


class Oracle:
    """Answers with what was recorded: the upper bound, and a check of the scores themselves."""

    name = "oracle"

    def __init__(self, traces: Sequence[Trace], programs: Sequence[Labelled] = ()) -> None:
        """Know these traces and programs."""
        self._texts = [(write_context(trace.context), trace.to_cwm(), trace) for trace in traces]
        self._inputs: dict[str, str] = {}
        for trace in traces:
            split = split_call(trace)
            call = next((f for f in trace.frames if f.kind == "call" and f.locals and split), None)
            if split is not None:
                state = json.dumps(dict(call.locals or {})) if call is not None else "{}"
                self._inputs[input_prompt(split[0], split[2])] = f"<|inv_call_sep|>{tokens.escape_json(state)}"
        self._halts = {program.source.rstrip(): program.label == "halts" for program in programs}

    def complete(self, prompt: str, stop: Sequence[str], max_tokens: int) -> Completion:
        """What comes next in the record."""
        if prompt in self._inputs:
            return Completion(self._inputs[prompt], True)
        source = prompt.partition("\n\n# Does this program halt?")[0]
        if source in self._halts:
            return Completion(" yes" if self._halts[source] else " no", True)
        for head, text, trace in self._texts:
            if not prompt.startswith(head):
                continue
            if text.startswith(prompt):
                return _until(text[len(prompt) :], stop)
            if prompt.endswith(tokens.ARG):  # the value at once
                return _until(write_frame(trace.frames[-1]).partition(tokens.ARG)[2], stop)
        return Completion("", True)


class Constant:
    """Says that nothing changes: the last frame again, every variable as it was; ``None``; and that programs halt."""

    name = "constant"

    def complete(self, prompt: str, stop: Sequence[str], max_tokens: int) -> Completion:
        """The same again."""
        if not prompt.startswith(tokens.BEGIN):
            return Completion(" yes", True)
        if prompt.endswith(tokens.ARG):
            return Completion('"None"', True)
        if prompt.endswith("<|inv_step_call|>"):
            return Completion("<|inv_call_sep|>{}", True)
        frame = prompt.removesuffix(tokens.FRAME).rpartition(tokens.FRAME)[2]
        for kind in (tokens.CALL, tokens.LINE):
            if frame.startswith(kind):
                state, _, source = frame[len(kind) :].partition(tokens.ACTION)
                same = json.dumps(dict.fromkeys(json.loads(state), ".."))
                return Completion(f"{tokens.LINE}{tokens.escape_json(same)}{tokens.ACTION}{source}", True)
        if frame.startswith((tokens.RETURN, tokens.EXCEPTION)):
            return Completion(frame, True)
        return Completion(f"{tokens.CALL}{{}}{tokens.ACTION}def main():\n", True)  # the trace begins


def _until(text: str, stop: Sequence[str]) -> Completion:
    places = [place for token in stop if (place := text.find(token)) >= 0]
    return Completion(text[: min(places)] if places else text, bool(places))
