"""One line of progress: rewritten in place on a terminal, plain lines otherwise."""

import sys
import time


def clock(seconds):
    """Seconds as a reader writes them: 0:07, 12:40, 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Line:
    """`update` rewrites it, on a terminal five times a second at most; `done` ends it."""

    def __init__(self, stream=None):
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self.next = 0.0

    def update(self, text):
        if self.live and time.monotonic() >= self.next:
            self.next = time.monotonic() + 0.2
            self._write(f"\r\033[K{text[:79]}")  # \r rewrites one line only

    def done(self, text):
        self.next = 0.0
        self._write(f"\r\033[K{text}\n" if self.live else f"{text}\n")

    def clear(self):
        if self.live:
            self._write("\r\033[K")

    def _write(self, text):
        self.stream.write(text)
        self.stream.flush()
