"""The source text of code: from files as they are when their code is first seen, and of ``exec`` as it was given."""

import sys
import threading
import tokenize
from types import CodeType
from typing import Any, Callable, Dict, Iterator, List, Optional

from cwm_env.tracing.inside.calm import Calm

_MOST = 4 << 20
_listeners: List[Callable[[str, Any], None]] = []
_hooked: List[bool] = []  # true once the process has its hook


def _tell(event: str, args: Any) -> None:
    """The one audit hook of the process: a hook cannot be taken back, and each is called for every event."""
    for listener in _listeners:
        listener(event, args)


class Sources:
    """File name to text. ``exec`` and ``eval`` of text are watched by an audit hook (Python 3.8 and later)."""

    def __init__(self) -> None:
        self._texts: Dict[str, Optional[str]] = {}
        self._executed: Dict[int, Any] = {}
        self._pending = threading.local()
        self._listener: Optional[Callable[[str, Any], None]] = None
        self.calm = Calm()

    def of(self, code: Any) -> Optional[str]:
        """The text that ``code`` was compiled from, None if nobody knows."""
        kept = self._executed.get(id(code))
        if kept is not None:
            text = kept[0]
            return text if type(text) is str else None
        if code.co_filename.startswith("<"):
            return None
        if code.co_filename not in self._texts:
            self._texts[code.co_filename] = _read(code.co_filename)
        return self._texts[code.co_filename]

    def given(self, filename: str, text: str) -> None:
        """Say what a file holds, for one that is not on disk."""
        self._texts[filename] = text

    def watch(self, caller_matters: Any) -> None:
        """Keep, until ``rest``, the source of what is executed from text by frames of which ``caller_matters`` holds.

        The interpreter has one way to be told of things: ``calm`` listens here too.
        """
        add = getattr(sys, "addaudithook", None)
        if add is None:
            return
        pending, executed, calm = self._pending, self._executed, self.calm

        def listen(event: str, args: Any) -> None:
            if event == "compile":
                pending.text = args[0]
            elif event == "exec":
                text = getattr(pending, "text", None)
                if text is None:
                    return
                pending.text = None
                code = args[0]
                if code.co_filename.startswith("<") and caller_matters(sys._getframe(2)) and len(executed) < 10000:
                    if type(text) is bytes:
                        text = text.decode("utf-8", "replace")
                    for inner in _with_nested(code):
                        executed[id(inner)] = (text, inner)  # the code too: its id must stay its own
            else:
                calm.audit(event)

        self._listener = listen
        _listeners.append(listen)
        if not _hooked:
            _hooked.append(True)
            add(_tell)

    def rest(self) -> None:
        """Listen no longer. Idempotent."""
        if self._listener is not None:
            _listeners.remove(self._listener)
            self._listener = None


def _with_nested(code: Any) -> Iterator[Any]:
    yield code
    for constant in code.co_consts:
        if type(constant) is CodeType:
            for inner in _with_nested(constant):
                yield inner


def _read(filename: str) -> Optional[str]:
    try:
        with tokenize.open(filename) as file:
            text = file.read(_MOST + 1)
    except (OSError, SyntaxError, UnicodeDecodeError, ValueError):
        return None
    return text if len(text) <= _MOST else None
