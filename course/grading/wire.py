"""Messages between a student's process and the grader's: plain data, never a pickle."""

import socket
import struct
import time
from typing import Any

from course.mpi import plain

LARGEST = 1 << 28  # bytes of one message
_HEADER = struct.Struct("<Q")


class Channel:
    """One end of a stream of messages."""

    def __init__(self, stream: socket.socket) -> None:
        """Use a connected socket."""
        self.stream = stream

    @classmethod
    def connect(cls, path: str, seconds: float = 20.0) -> "Channel":
        """Connect to the socket at `path`, which somebody listens to.

        Raises:
            OSError: Nobody does.
        """
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.settimeout(seconds)
        stream.connect(path)
        return cls(stream)

    def send(self, value: Any, seconds: float | None = 60.0) -> None:
        """Send plain data.

        Raises:
            TypeError: `value` is no plain data.
            OSError: The other end is gone, or did not read for `seconds`.
        """
        data = plain.dumps(value)
        self.stream.settimeout(seconds)
        self.stream.sendall(_HEADER.pack(len(data)) + data)

    def receive(self, seconds: float | None = None) -> Any:
        """Return the next message.

        Raises:
            EOFError: The other end is gone.
            TimeoutError: No message came within `seconds`.
            ValueError: What came is no message.
        """
        until = None if seconds is None else time.monotonic() + seconds
        (size,) = _HEADER.unpack(self._exactly(_HEADER.size, until))
        if size > LARGEST:
            raise ValueError(f"expected a message of at most {LARGEST} bytes, got {size}")
        return plain.loads(self._exactly(size, until), LARGEST)

    def _exactly(self, size: int, until: float | None) -> bytes:
        parts = []
        while size:
            if until is not None:
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the other end did not answer in time")
                self.stream.settimeout(left)
            else:
                self.stream.settimeout(None)
            try:
                part = self.stream.recv(min(size, 1 << 20))
            except ConnectionError:
                part = b""
            if not part:
                raise EOFError("the other end is gone")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Hang up."""
        self.stream.close()
