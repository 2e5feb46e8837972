"""What the shell starts: the commands, with interrupts heard while they are still being imported."""

from __future__ import annotations

import gc
import signal
import sys

from .cli_signals import heard

__all__ = ["main"]


class _StoppedError(BaseException):
    """A signal outside the commands, which nobody takes for an interrupt that is theirs to tell of."""


def main() -> None:
    """Run the command that ``sys.argv`` holds, and end the process."""
    code = 130
    try:
        with heard(_StoppedError) as signals:
            try:
                from .cli import app

                app()
            except _StoppedError:
                code = signals.exit_code
                raise
    except (KeyboardInterrupt, _StoppedError):
        print("stopped: nothing was done yet", file=sys.stderr)
        sys.exit(code)
    finally:
        # What is left is the end of the interpreter, which an interrupt could only garble.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        gc.freeze()  # or the last collections walk for a second over all that the libraries hold


if __name__ == "__main__":
    main()
