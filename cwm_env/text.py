"""Text that a policy wrote, for a person to read."""

from __future__ import annotations


def harmless(text: str) -> str:
    """Text that a terminal shows as it is: control characters other than newline and tab become visible."""
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)
