"""Which names and ports a sandbox may reach."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from cwm_env.errors import InputError

_USUAL_PORTS = frozenset({80, 443})


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of an allow list."""

    host: str
    """A name, an address, or ``*.name`` for all names below it."""
    ports: frozenset[int]

    def matches(self, host: str, port: int) -> bool:
        """Whether it lets this through."""
        if port not in self.ports:
            return False
        return host.endswith(self.host[1:]) if self.host.startswith("*.") else host == self.host

    @property
    def means_this_machine(self) -> bool:
        """Whether addresses that are not public are meant: only where the rule itself names one."""
        return self.host == "localhost" or _is_address(self.host)


def parse(entries: Iterable[str]) -> tuple[Rule, ...]:
    """Read an allow list: ``HOST[:PORT[,PORT…]]``; without ports 80 and 443. IPv6 addresses stand in brackets.

    Raises:
        InputError: an entry is not one.
    """
    return tuple(_parse(entry) for entry in entries)


def _parse(entry: str) -> Rule:
    text = entry.strip().lower()
    bracketed = text.startswith("[")
    host, _, rest = text[1:].partition("]") if bracketed else text.partition(":")
    ports = rest.removeprefix(":") if bracketed else rest
    try:
        numbers = frozenset(int(port) for port in ports.split(",")) if ports else _USUAL_PORTS
    except ValueError:
        numbers = frozenset()
    plain = host.removeprefix("*.").rstrip(".")
    good = plain and "*" not in plain and not set(plain) & set("/ @?#")
    if not good or not numbers or not all(0 < number < 65536 for number in numbers):
        raise InputError(f"{entry!r} is not HOST or HOST:PORT, such as example.org:443 or *.example.org:80,443")
    return Rule(host.rstrip("."), numbers)


def find(rules: Iterable[Rule], host: str, port: int) -> Rule | None:
    """The first rule that lets a name and port through."""
    host = host.lower().rstrip(".")
    return next((rule for rule in rules if rule.matches(host, port)), None)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
