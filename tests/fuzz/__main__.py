"""Run a campaign and print what became of the inputs: ``python -m tests.fuzz --n 10000 --seed 0``."""

from __future__ import annotations

import argparse
import sys
import time

from .campaign import campaign
from .loaders import LOADERS


def main() -> int:
    """Exit status 1 if anything bad was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--n", type=int, default=600, help="mutated inputs (default 600)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--loader", action="append", choices=list(LOADERS), help="only this one; may be repeated")
    parser.add_argument("--only", help="one input, by its number or name")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--no-bombs", action="store_true", help="leave out inputs that ask for much")
    options = parser.parse_args()

    def progress(done: int) -> None:
        if done % 100 == 0 and sys.stderr.isatty():
            print(f"\r{done} inputs", end="", file=sys.stderr, flush=True)

    start = time.perf_counter()
    report = campaign(
        options.n,
        options.seed,
        loaders=options.loader,
        only=options.only,
        with_bombs=not options.no_bombs,
        n_workers=options.workers,
        progress=progress,
    )
    total = sum(row.total() for row in report.counts.values())
    print(report.table(), report.all_examples(), sep="\n\n")
    print(f"\n{total:,} inputs in {time.perf_counter() - start:.0f} s; bad: {dict(report.bad()) or 'none'}")
    return bool(report.bad())


if __name__ == "__main__":
    sys.exit(main())
