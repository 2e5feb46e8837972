"""How a run of chains went, in one sentence, with what speaks against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .diagnostics import chains_as_array
from .torsion_convergence import ESS_LIMIT, R_HAT_LIMIT, TorsionConvergence
from .unvisited import KnownConformer, Shape, known_conformers, shapes_of
from .watched import LEAST_POPULATION, Watched, watch

if TYPE_CHECKING:
    from .landscape import Landscape
    from .weighted_trajectory import WeightedTrajectory

__all__ = ["Ending", "Verdict", "judge"]

#: Ways into a state and out of it, both together, below which its population is not believed.
_FEWEST_VISITS = 10
#: A state is missed where so many effective samples of it were expected, and none is there.
_EXPECTED = 10.0
#: Standard errors that halves of a run, or chains of different starts, may differ by. Some hundred pairs are compared.
_MOST_Z = 5.0
#: Chains at least in each of two groups that are compared.
_FEWEST_CHAINS = 6
#: Times as long as a run was from which on more of the same is not advised, where the run has so many draws of a chain
#: and each chain is worth less than so many independent ones.
_HOPELESS, _LONG, _MOVED = 50.0, 40, 2.0
#: Free energies (kT) differ by much from here on; with more visits than these, anharmonicity is the likelier reason.
_FAR, _MANY_VISITS = 3.0, 100


@dataclass(frozen=True)
class Ending:
    """Why a run ended.

    Attributes:
        reason: such as "the budget of 2e+07 energy evaluations is spent", for the middle of a sentence; empty where the
            length was given, or the goal reached.
        r_hat, effective_samples: what was to be reached.
        evaluations: spent in warm-up and draws.
    """

    reason: str = ""
    r_hat: float = R_HAT_LIMIT
    effective_samples: float = ESS_LIMIT
    evaluations: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What :func:`judge` says.

    Attributes:
        sentence: for the top of a report.
        is_converged: whether the goal was reached and nothing speaks against it.
        warnings: what speaks against the run, a sentence each.
        watched: what had to converge, the worst first.
        shapes: of stiff parts.
        conformers: that the search had found.
    """

    sentence: str
    is_converged: bool
    warnings: tuple[str, ...]
    watched: tuple[Watched, ...] = ()
    shapes: tuple[Shape, ...] = ()
    conformers: tuple[KnownConformer, ...] = ()


def judge(
    wt: WeightedTrajectory,
    landscape: Landscape,
    convergence: Sequence[TorsionConvergence],
    ending: Ending | None = None,
) -> Verdict:
    """Whether chains have converged, by what cannot be fooled by chains that agree.

    - R-hat and effective sample sizes of every torsion, part and the energy;
    - visits: how often chains came into each well and shape of 1 % or more, and went out of it;
    - populations in the two halves of the run, and of chains that began inside and outside of a state;
    - shapes of stiff parts, and conformers within 6 kT of the lowest, that were found before the run: which of them
      were not visited though ten effective samples or more were to be expected; and shapes whose populations differ
      from the harmonic ones by more than 3 kT after few visits.

    Arguments:
        wt: a WeightedTrajectory of kind "mcmc".
        landscape: what was known before the run.
        convergence: of the torsions.
        ending: why the run ended.
    """
    ending = Ending() if ending is None else ending
    watched = sorted(
        watch(wt, landscape, convergence), key=lambda row: -row.effort(ending.r_hat, ending.effective_samples)
    )
    shapes = tuple(shape for part in landscape.parts for shape in shapes_of(wt, part))
    torsions = [row.torsion for row in convergence]
    conformers = tuple(known_conformers(wt, landscape, torsions))
    n_effective = min((row.effective_sample_size for row in watched), default=1.0)
    warnings = [
        *_badly_mixed(wt, convergence, shapes),
        *_missed_shapes(shapes, n_effective),
        *_missed_conformers(conformers, n_effective),
    ]
    is_reached = bool(watched) and watched[0].effort(ending.r_hat, ending.effective_samples) <= 1
    return Verdict(
        _sentence(wt, watched, conformers, warnings, ending),
        is_reached and not warnings,
        tuple(warnings),
        tuple(watched),
        shapes,
        conformers,
    )


def _sentence(
    wt: WeightedTrajectory,
    watched: Sequence[Watched],
    conformers: Sequence[KnownConformer],
    warnings: Sequence[str],
    ending: Ending,
) -> str:
    if not watched:
        return "Nothing was watched that could converge."
    worst = watched[0]
    effort = worst.effort(ending.r_hat, ending.effective_samples)
    r_hat = "unknown" if np.isnan(worst.r_hat) else f"{worst.r_hat:.3f}"
    figures = f"{worst.name}: R-hat {r_hat}, {worst.effective_sample_size:,.0f} effective samples"
    if effort > 1:
        n_open = sum(row.effort(ending.r_hat, ending.effective_samples) > 1 for row in watched)
        others = f" ({n_open} of {len(watched)} are not done)" if n_open > 1 else ""
        n_chains = len(wt.chain.unique())
        is_stuck = len(wt) >= _LONG * n_chains and worst.effective_sample_size < _MOVED * n_chains
        when = f" when {ending.reason}" if ending.reason else ""
        return f"Not converged{when}. At worst {figures}{others}; {_more(effort, ending, is_stuck)}."
    if warnings:
        speaks = "thing speaks" if len(warnings) == 1 else "things speak"
        return f"The chains agree (at worst {figures}), but {len(warnings)} {speaks} against them."
    return f"Converged. At worst {figures}{_known(conformers)}."


def _more(effort: float, ending: Ending, is_stuck: bool) -> str:
    """What more time would buy."""
    wanted = f"R-hat {ending.r_hat:g} and {ending.effective_samples:,.0f}"
    if is_stuck and effort > _HOPELESS:
        return f"a longer run is not likely to reach {wanted}"
    if not np.isfinite(effort):
        return f"there are too few draws to say how many {wanted} would take"
    cost = f" ({ending.evaluations * effort:.1e} energy evaluations)" if ending.evaluations else ""
    return f"a run about {effort:.1f} times as long{cost} would reach {wanted}"


def _known(conformers: Sequence[KnownConformer]) -> str:
    n_seen = sum(row.population > 0 or row.twin_visited for row in conformers)
    if len(conformers) < 2:
        return ""
    seen = "all" if n_seen == len(conformers) else f"{n_seen} of"
    return f"; {seen} {len(conformers)} conformers known up to 6 kT above the lowest were visited"


def _badly_mixed(
    wt: WeightedTrajectory, convergence: Sequence[TorsionConvergence], shapes: Sequence[Shape]
) -> Iterator[str]:
    """The first state of each torsion and part that chains do not go in and out of as they should."""
    for states in (*(_wells(row) for row in convergence), *_shapes(shapes).values()):
        told = (_few_visits(wt, *state) or _halves(wt, *state) for state in states)
        yield from filter(None, [next(filter(None, told), None)])


def _wells(row: TorsionConvergence) -> list[tuple[str, np.ndarray]]:
    """What a well is called, and which frames are in it."""
    torsion = row.torsion
    names = [] if torsion.symmetric or len(torsion.wells) < 2 else torsion.wells.names
    return [(f"{well} of {torsion.name}", torsion.state == i) for i, well in enumerate(names)]


def _shapes(shapes: Sequence[Shape]) -> dict[str, list[tuple[str, np.ndarray]]]:
    """The same of the shapes of each part."""
    found: dict[str, list[tuple[str, np.ndarray]]] = {}
    for shape in shapes:
        found.setdefault(shape.part, []).append((_shape_name(shape), shape.inside))
    return found


def _few_visits(wt: WeightedTrajectory, name: str, inside: np.ndarray) -> str | None:
    if not LEAST_POPULATION <= inside.mean() < 1:
        return None
    same_chain = (wt.chain[1:] == wt.chain[:-1]).numpy()
    into = int((same_chain & inside[1:] & ~inside[:-1]).sum())
    out = int((same_chain & ~inside[1:] & inside[:-1]).sum())
    if into + out >= _FEWEST_VISITS:
        return None
    return (
        f"Chains came into {name} {_count(into, 'time')} and left it {_count(out, 'time')}: its population of "
        f"{inside.mean():.3f} says where they started."
    )


def _halves(wt: WeightedTrajectory, name: str, inside: np.ndarray) -> str | None:
    """Of the run, and of the chains by where they began."""
    if not LEAST_POPULATION <= inside.mean() <= 1 - LEAST_POPULATION:
        return None
    chains = chains_as_array(inside.astype(float), wt.chain, wt.draw)
    half = len(chains) // 2
    early, late, began = chains[:half].mean(0), chains[-half:].mean(0), chains[0] > 0
    if half and len(early) >= 2 * _FEWEST_CHAINS and (z := abs(_z(early - late))) > _MOST_Z:
        return (
            f"{_capital(name)} has a population of {early.mean():.3f} in the first half of the run and of "
            f"{late.mean():.3f} in the second, {z:.0f} standard errors apart."
        )
    n_fewer = min(began.sum(), (~began).sum())
    if half and n_fewer >= _FEWEST_CHAINS and (z := abs(_z(late[began], late[~began]))) > _MOST_Z:
        return (
            f"{_capital(name)} has a population of {late[began].mean():.3f} in chains that began there and of "
            f"{late[~began].mean():.3f} in the others, {z:.0f} standard errors apart."
        )
    return None


def _z(one: np.ndarray, other: np.ndarray | None = None) -> float:
    """Difference of the means, or the mean, in standard errors between chains."""
    groups = [one] if other is None else [one, other]
    variance = sum(values.var(ddof=1) / len(values) for values in groups)
    difference = one.mean() - (0.0 if other is None else other.mean())
    return float(difference / np.sqrt(variance)) if variance > 0 else 0.0 if difference == 0 else np.inf


def _missed_shapes(shapes: Sequence[Shape], n_effective: float) -> Iterator[str]:
    for shape in shapes:
        name, expected = _capital(_shape_name(shape)), f"{shape.expected:.2g}"
        if shape.population == 0 and shape.expected * n_effective >= _EXPECTED:
            yield f"{name} was not visited; by harmonic free energies a share of {expected} was to be expected."
        is_known = shape.population < LEAST_POPULATION or shape.entered + shape.left >= _MANY_VISITS
        if not is_known and abs(np.log(shape.population / shape.expected)) > _FAR:
            yield (
                f"{name} has a population of {shape.population:.3f} for {expected} by harmonic free energies, after "
                f"{shape.entered} ways in and {shape.left} out."
            )


def _missed_conformers(conformers: Sequence[KnownConformer], n_effective: float) -> Iterator[str]:
    missed = [
        row
        for row in conformers
        if row.population == 0 and not row.twin_visited and row.expected * n_effective >= _EXPECTED
    ]
    if missed:
        heights = ", ".join(f"{row.height:.1f}" for row in missed[:5])
        others = f" and {len(missed) - 5} more" if len(missed) > 5 else ""
        yield (
            f"{_capital(_count(len(missed), 'conformer'))} that the search had found, at {heights}{others} kT above "
            f"the lowest, {'was' if len(missed) == 1 else 'were'} not visited, though by energy "
            f"{sum(row.expected for row in missed):.2g} of the frames were to be expected there."
        )


def _shape_name(shape: Shape) -> str:
    return f"the shape of {shape.part} at {shape.height:.1f} kT"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
