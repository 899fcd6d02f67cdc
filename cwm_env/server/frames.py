"""The frames of a socket: whole texts, which nearly all are, past the library, which would cost as much as their steps.

Whatever else comes (pings, closing, texts in parts, too much) is handed to the library, frame by frame, so that it is
always between two of them.
"""

from __future__ import annotations

import struct
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import apply_mask  # type: ignore[attr-defined]  # in C where that is built

_TEXT = 0x81  # the last frame of a text that is not compressed
_MASKED = 0x80
_MOST_QUEUED = 8  # messages before no more is read


class SocketProtocol(WebSocketsSansIOProtocol):
    """One socket."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._rest = bytearray()  # of a frame
        self._asked = False  # whether the request for a socket has come
        self._given_up = False  # whether the library reads everything from here on

    def data_received(self, data: bytes | bytearray) -> None:
        """As ``asyncio.Protocol``."""
        if self._given_up or not self.handshake_complete:
            self._given_up = self._given_up or self._asked  # frames before they are welcome
            self._asked = True
            super().data_received(bytes(data))
            return
        start = 0
        if self._rest:
            self._rest += data
            data = self._rest
        while (found := self._frame(data, start)) is not None:
            head, payload, end = found
            plain = data[start] == _TEXT and not self.frames and not self.close_sent
            if plain:
                text = apply_mask(data[head + 4 : end], data[head : head + 4]) if payload else b""
                self.curr_msg_data_type, self.frames = "text", [text]
                self.send_receive_event_to_app()
            else:
                super().data_received(bytes(data[start:end]))
            start = end
        if data is self._rest:
            del self._rest[:start]
        else:
            self._rest += data[start:]
        if self._given_up:
            super().data_received(bytes(self._rest))

    async def send(self, message: Any) -> None:
        """As ASGI has it."""
        text = message.get("text")
        usual = self.handshake_complete and not (self.close_sent or self.disconnected or self.initial_response)
        if text is None or not usual or not self.writable.is_set():
            await super().send(message)
            return
        data = text.encode()
        size = len(data)
        if size < 126:
            head = bytes((_TEXT, size))
        else:
            head = struct.pack("!BBH", _TEXT, 126, size) if size < 1 << 16 else struct.pack("!BBQ", _TEXT, 127, size)
        self.transport.write(head + data)

    def send_receive_event_to_app(self) -> None:
        """As the library calls it: hold up who sends more than is taken."""
        read_paused, self.read_paused = self.read_paused, True  # else it would be paused after each
        super().send_receive_event_to_app()
        self.read_paused = read_paused
        if not read_paused and self.queue.qsize() >= _MOST_QUEUED:
            self.read_paused = True
            self.transport.pause_reading()

    def _frame(self, data: bytes | bytearray, start: int) -> tuple[int, int, int] | None:
        """Where the next frame's mask begins, how long its payload is, and where it ends; None before it is whole."""
        if len(data) - start < 2:
            return None
        size, head = data[start + 1] & 0x7F, start + 2
        if size > 125:
            head += 2 if size == 126 else 8
            if len(data) < head:
                return None
            size = int.from_bytes(data[start + 2 : head], "big")
        if not data[start + 1] & _MASKED or size > self.config.ws_max_size:
            self._given_up = True  # the library says what is wrong with it
            return None
        end = head + 4 + size
        return (head, size, end) if len(data) >= end else None
