"""What the shell starts: the commands, with interrupts heard while they are still being imported."""

from __future__ import annotations

import signal
import sys

from .interrupts import exit_code, heard

__all__ = ["main"]


def main() -> None:
    """Run the command that ``sys.argv`` holds, and end the process."""
    numbers: list[int] = []
    try:
        with heard() as numbers:
            from .cli import app

            app()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(exit_code(numbers))
    finally:
        # What is left is the end of the interpreter, which an interrupt could only garble.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
