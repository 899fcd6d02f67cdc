"""The protocol takes any bytes in any pieces, and believes nobody who does not know the nonce."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cwm_env.session.protocol import NONCE, Done, Event, ShellProtocol

# Pieces of what the channel carries, so that random bytes come near to frames.
_PIECES = st.sampled_from([b"\0", b"S", b"J", b"Cabcdefgh", b"@", b" ", b"\n", b"0 1 /", b"-", b"999999999999"])
_STREAM = st.lists(st.one_of(st.binary(max_size=20), _PIECES), max_size=40).map(b"".join)


def _protocol(nonce: bytes = b"Cabcdefgh") -> tuple[ShellProtocol, bytes]:
    """A protocol that waits for the answer to a command with this nonce."""
    protocol = ShellProtocol()
    protocol.command(b"true")
    protocol._nonce = nonce
    return protocol, nonce


def _split(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(ends)]


@given(_STREAM, st.lists(st.integers(0, 1000), max_size=8))
def test_any_bytes_mean_the_same_however_they_are_split(data: bytes, cuts: list[int]) -> None:
    whole, parts = _protocol()[0], _protocol()[0]
    events: list[Event] = []
    for part in _split(data, cuts):
        events += parts.feed(part)
    assert events == whole.feed(data)


@given(_STREAM, st.integers(0, 255), st.text(max_size=20), st.lists(st.integers(0, 1000), max_size=8))
def test_a_frame_is_found_in_any_noise(noise: bytes, code: int, name: str, cuts: list[int]) -> None:
    protocol, nonce = _protocol()
    cwd = b"/" + name.encode("utf-8", "surrogatepass").replace(b"\0", b"")
    frame = b"\0%s %d 1 %s\0" % (nonce, code, cwd)
    found: list[Event] = []
    for part in _split(noise + frame, cuts):
        found += protocol.feed(part)
    assert found[-1] == Done(code, cwd.decode("utf-8", "surrogateescape"), True)


@given(_STREAM)
def test_nothing_is_done_without_the_nonce(data: bytes) -> None:
    protocol, _ = _protocol(b"Cijklmnop")
    assert not any(isinstance(event, Done) for event in protocol.feed(data.replace(b"ij", b"") + b"\0"))


def test_noise_without_end_is_held_in_bounded_memory() -> None:
    protocol, nonce = _protocol()
    for _ in range(40):
        protocol.feed(b"x" * (1 << 20))
    assert len(protocol.noise) <= 9 << 20
    assert protocol.feed(b"\0%s 7 0 /\0" % nonce) == [Done(7, "/", False)]


def test_nonces_do_not_repeat() -> None:
    protocol = ShellProtocol()
    assert len({protocol.command(b"true")[:NONCE] for _ in range(5000)}) == 5000
