"""What the shell starts: the commands, with interrupts heard while they are still being imported."""

from __future__ import annotations

import signal
import sys

from .interrupts import heard

__all__ = ["main"]


def main() -> None:
    """Run the command that ``sys.argv`` holds, and end the process."""
    code = 130
    try:
        with heard() as signals:
            try:
                from .cli import app

                app()
            except KeyboardInterrupt:
                code = signals.exit_code
                raise
    except KeyboardInterrupt:
        print("stopped: nothing was done yet", file=sys.stderr)
        sys.exit(code)
    finally:
        # What is left is the end of the interpreter, which an interrupt could only garble.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
