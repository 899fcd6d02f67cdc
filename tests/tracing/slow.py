"""An independent recorder, slow and simple: every variable of every event in full, by ``sys.settrace``."""

import sys
from typing import Any, Callable, Dict, List, Tuple

Event = Tuple[str, int, str, Any]


def record(
    run: Callable[[], Any], covers: Callable[[Any], bool], text: Callable[[Any], str], entry: str
) -> List[Event]:
    """(kind, line, function, variables or value) of all that happens in the scope of the first call of ``entry``."""
    events: List[Event] = []
    depth = [0]

    def variables(frame: Any) -> Dict[str, str]:
        shown = dict(frame.f_locals)
        if not frame.f_code.co_flags & 2:
            shown = {k: v for k, v in shown.items() if not (k.startswith("__") and k.endswith("__"))}
        return {name: text(value) for name, value in shown.items()}

    def local(frame: Any, event: str, arg: Any) -> Any:
        name = frame.f_code.co_name
        if event == "line":
            events.append((event, frame.f_lineno, name, variables(frame)))
        elif event == "exception":
            events.append((event, frame.f_lineno, name, text(arg[1])))
        else:
            events.append((event, frame.f_lineno, name, text(arg)))
            depth[0] -= 1
        return local

    def begin(frame: Any, event: str, arg: Any) -> Any:
        if not covers(frame.f_code) or (not depth[0] and (frame.f_code.co_name != entry or events)):
            return None
        depth[0] += 1
        events.append((event, frame.f_lineno, frame.f_code.co_name, variables(frame)))
        return local

    sys.settrace(begin)
    try:
        run()
    except Exception:
        pass
    finally:
        sys.settrace(None)
    return events
