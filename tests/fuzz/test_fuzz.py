"""No damaged, edited or hostile file gives a wrong number, crashes, hangs, takes the memory or runs code."""

from __future__ import annotations

import pytest

from .campaign import campaign
from .canaries import CANARIES


def require_nothing_bad(report):
    assert not report.bad(), f"{report.table()}\n{report.all_examples()}"


def test_two_hundred_inputs():
    report = campaign(200, seed=0, with_bombs=False)
    require_nothing_bad(report)
    found = sum(row["clear error"] for row in report.counts.values())
    assert found > 100  # most damage is told


@pytest.mark.slow
def test_ten_thousand_inputs():
    report = campaign(10_000, seed=1, n_workers=2)
    require_nothing_bad(report)
    assert all(row.total() > 90 for row in report.counts.values())


def test_a_campaign_notices_what_no_loader_may_do():
    report = campaign(12, loaders=list(CANARIES), seconds=3.0)
    assert set(report.bad()) == set(CANARIES)
    for canary, row in report.counts.items():
        assert row[canary] >= 1 and row.total() == 2, f"{canary}: {report.table()}"  # a file may be gone
    assert all(name in report.all_examples() for name in CANARIES)


def test_an_input_can_be_repeated():
    one, two = (campaign(40, seed=3, loaders=["checkpoint of a run"], only=7) for _ in range(2))
    assert one.counts == two.counts and one.counts["checkpoint of a run"].total() == 1
