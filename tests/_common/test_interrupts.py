"""Signals: at once, or noted until what is at hand is finished."""

import signal

import pytest

from openmm_diffsampler._common.interrupts import deferred_interrupts, listening


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_noted_and_the_second_never_waits(number):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt), listening():
        signal.raise_signal(number)
    with pytest.raises(KeyboardInterrupt), deferred_interrupts() as interrupts:
        assert not interrupts
        signal.raise_signal(number)
        assert interrupts
        signal.raise_signal(number)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
