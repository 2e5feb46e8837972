"""What the integrator and the move count at each noise level."""

__all__ = ["COUNTS", "add_counts", "with_acceptance"]

#: What is counted for each level.
COUNTS = ("guesses", "accepted_guesses", "trajectories", "accepted_trajectories", "nonfinite")


def with_acceptance(name, counts):
    """One row of the acceptance table: the counts of a level with its name and rates."""
    rates = {
        "guess acceptance": counts["accepted_guesses"] / max(counts["guesses"], 1),
        "HMC acceptance": counts["accepted_trajectories"] / max(counts["trajectories"], 1),
    }
    return {"level": name, **rates, **counts}


def add_counts(*rows):
    """Counts of one level, summed over rows that hold them; zeros for no row."""
    return {what: sum(row[what] for row in rows) for what in COUNTS}
