"""Step sizes that find their acceptance rate during warm-up and then stand still."""

from math import exp, inf, log

__all__ = ["StepSize"]


class StepSize:
    r"""A step size h that follows log h ← log h + k^{−0.6} (a − a*) while adapting, and ends at its running average.

    Arguments:
        value: where it starts.
        acceptance: the rate a* to find.
        largest: what it never exceeds.

    References:
        Robbins & Monro (1951); averaging after Polyak & Juditsky (1992).
    """

    def __init__(self, value, acceptance, largest=inf):
        if not value > 0:
            raise ValueError(f"step size is {value}; it must be positive")
        self.initial, self.acceptance, self.largest = min(float(value), largest), acceptance, largest
        self.restart()

    def restart(self):
        """Go back to the start, before any warm-up."""
        self.value, self.n_updates, self.log_average = self.initial, 0, log(self.initial)

    def update(self, probability):
        """Learn from the mean acceptance probability of one step."""
        self.n_updates += 1
        self.value = min(self.value * exp(self.n_updates**-0.6 * (probability - self.acceptance)), self.largest)
        # Early values are far off: the average forgets them with a window that grows with the count.
        weight = min(1.0, 5 / (self.n_updates + 4))
        self.log_average += weight * (log(self.value) - self.log_average)

    def freeze(self):
        """Settle on the average."""
        if self.n_updates:
            self.value = exp(self.log_average)

    def state_dict(self):
        return {"value": self.value, "n_updates": self.n_updates, "log_average": self.log_average}

    def load_state_dict(self, state):
        self.value, self.n_updates, self.log_average = state["value"], state["n_updates"], state["log_average"]
