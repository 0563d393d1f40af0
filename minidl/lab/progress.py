"""One line of progress: rewritten in place on a terminal, plain lines otherwise."""

import sys
import textwrap
import time

TERMINAL = 79  # columns; the 80th makes some terminals begin a new line


def clock(seconds):
    """Seconds as a reader writes them: 0:07, 12:40, 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def wrapped(text):
    """The text in lines that a terminal of 80 columns shows whole; cut at no \\xa0."""
    return textwrap.fill(text, TERMINAL, subsequent_indent="  ", break_long_words=False,
                         break_on_hyphens=False).replace("\xa0", " ")


def tell(text):
    """Print a sentence, in lines of a terminal."""
    print(wrapped(text))


class Line:
    """`update` rewrites it, on a terminal five times a second at most; `done` ends it."""

    def __init__(self, stream=None):
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self.next = 0.0

    def update(self, text):
        if self.live and time.monotonic() >= self.next:
            self.next = time.monotonic() + 0.2
            self._write(f"\r\033[K{text[:TERMINAL]}")  # a second line cannot be rewritten

    def done(self, text):
        self.next = 0.0
        self._write(f"\r\033[K{text}\n" if self.live else f"{text}\n")

    def clear(self):
        if self.live:
            self._write("\r\033[K")

    def _write(self, text):
        self.stream.write(text)
        self.stream.flush()
