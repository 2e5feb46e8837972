"""Whether independent samples miss something: their weights, held against those of equilibrium configurations."""

from dataclasses import dataclass

import numpy as np

from .basin_agreement import UnderRepresented, under_represented
from .estimates import Estimate

__all__ = ["ForwardDiagnostics", "forward_diagnostics"]

#: Disagreement of two estimates that is not chance, in combined standard errors.
_Z = 4.0

#: How much heavier than the heavy end of the samples a configuration has to be to count as one they never make.
_MARGIN = np.log(10.0)

#: Single configurations that far out come from tails; a state has several.
_FEWEST = 5

_ADVICE = (
    "Do not trust populations, log Z or the effective sample size of these samples: train with configurations of what "
    "is missing, or draw chains instead."
)


@dataclass(frozen=True)
class ForwardDiagnostics:
    """What the log-weights of samples and of held-out configurations say; see :func:`forward_diagnostics`.

    Attributes:
        reverse_ess: (mean w)²/mean w² of the samples, between 0 and 1.
        forward_ess: 1/(⟨w⟩_p ⟨1/w⟩_p), the same number from the held-out configurations.
        elbo, eubo: mean log-weight of the samples and of the held-out configurations; log Z lies between them.
        log_Z_reverse, log_Z_forward: Estimates of log Z from either side.
        unseen: share of the held-out configurations with weights that no sample has.
        under_represented: tuple of UnderRepresented, where labels were given.
        warning: None, or what was seen and what to do.
    """

    reverse_ess: float
    forward_ess: float
    elbo: float
    eubo: float
    log_Z_reverse: Estimate
    log_Z_forward: Estimate
    unseen: float
    under_represented: tuple[UnderRepresented, ...]
    warning: str | None

    @property
    def gap(self):
        """EUBO − ELBO, which is KL(p‖q) + KL(q‖p): zero for a perfect model."""
        return self.eubo - self.elbo

    def as_dict(self):
        """Names in plain words → numbers, and "warning" → None or text; what ``write_results(forward=...)`` takes."""
        return {
            "effective sample size per sample": self.reverse_ess,
            "the same from held-out configurations": self.forward_ess,
            "ELBO (mean log-weight of samples)": self.elbo,
            "EUBO (mean log-weight of held-out configurations)": self.eubo,
            "EUBO − ELBO": self.gap,
            "log Z from samples": self.log_Z_reverse.value,
            "its standard error": self.log_Z_reverse.standard_error,
            "log Z from held-out configurations": self.log_Z_forward.value,
            "the standard error of that": self.log_Z_forward.standard_error,
            "share of held-out configurations heavier than any sample": self.unseen,
            "warning": self.warning,
        }


def forward_diagnostics(lw_model, lw_data, *, labels_model=None, labels_data=None, independent_data=None):
    r"""Compare log-weights log w = −u(x) − log q(x) of model samples x ~ q and held-out equilibrium x ~ p.

    Samples alone cannot tell of a state that the model never makes: their effective sample size looks good without it.
    Equilibrium configurations that training has not seen do tell,

    .. math::
        \frac{(E_q w)^2}{E_q w^2} = \frac{1}{E_p[w]\,E_p[1/w]}, \quad
        E_q \log w \le \log Z = \log E_q w = -\log E_p[1/w] \le E_p \log w,

    and both sides agree for a model that covers p. They warn where

    - the two log Z differ by more than four combined standard errors;
    - the effective sample size from held-out configurations is less than a third of that from samples;
    - at least five held-out configurations have weights ten times those of the heavy end of the samples, which is the
      larger of their 99.9 % quantile and the fifth heaviest;
    - labels are given, and a label's weighted population lacks more than four standard errors of the held-out one.

    Arguments:
        lw_model: (n,) log-weights of samples; −inf is weight zero.
        lw_data: (m,) log-weights of held-out configurations; +inf where the model has density zero.
        labels_model, labels_data: (n,) and (m,) names or numbers of the basin that each is in, or None.
        independent_data: how many independent draws the m are worth, if they come from chains; by default m.

    Returns:
        ForwardDiagnostics.

    Raises:
        ValueError: fewer than two on either side, NaN, log-weights of +inf in samples or −inf in held-out
            configurations, all samples of weight zero, or labels of other lengths.

    References:
        Blessing et al., Beyond ELBOs: a large-scale evaluation of variational methods for sampling, ICML 2024.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=100_000), rng.normal(size=20_000)
        >>> log_weight = lambda x: -0.5 * x**2 + 0.5 * (x / 1.2) ** 2 + np.log(1.2 * np.sqrt(2 * np.pi))
        >>> found = forward_diagnostics(log_weight(1.2 * x), log_weight(y))
        >>> f"{found.reverse_ess:.2f} {found.forward_ess:.2f} {found.log_Z_forward.value:.2f} {found.warning}"
        '0.95 0.95 0.92 None'
    """
    lw_model, lw_data = _checked(lw_model, lw_data)
    independent = float(len(lw_data) if independent_data is None else independent_data)
    reverse = _log_mean(lw_model, len(lw_model))
    inverse = _log_mean(-lw_data, independent)
    forward = Estimate(-inverse.value, inverse.standard_error)
    reverse_ess = np.exp(2 * reverse.value - _log_mean(2 * lw_model, len(lw_model)).value)
    forward_ess = 0.0 if np.isposinf(lw_data).any() else np.exp(-_log_mean(lw_data, independent).value - inverse.value)
    heavy = max(np.quantile(lw_model, 0.999, method="lower"), np.sort(lw_model)[-min(_FEWEST, len(lw_model))])
    n_unseen = int((lw_data > heavy + _MARGIN).sum())
    if (labels_model is None) != (labels_data is None):
        raise ValueError("labels are given for one side only; give both labels_model and labels_data, or neither")
    lacking = ()
    if labels_model is not None:
        lacking = under_represented(lw_model, labels_model, labels_data, independent, threshold=_Z)
    found = {
        "reverse_ess": float(reverse_ess),
        "forward_ess": float(forward_ess),
        "elbo": float(lw_model.mean()),
        "eubo": float(lw_data.mean()),
        "log_Z_reverse": reverse,
        "log_Z_forward": forward,
        "unseen": n_unseen / len(lw_data),
        "under_represented": lacking,
    }
    return ForwardDiagnostics(**found, warning=_warning(n_unseen, found))


def _warning(n_unseen, found):
    seen = []
    if n_unseen >= _FEWEST:
        share = f"{100 * found['unseen']:.2g} % of the held-out configurations"
        seen.append(f"{share} have weights that no model sample has: a mode, or a way between modes, is missing")
    seen += [str(row) for row in found["under_represented"]]
    (reverse, reverse_error), (forward, forward_error) = found["log_Z_reverse"], found["log_Z_forward"]
    error = np.hypot(reverse_error, forward_error)
    if abs(forward - reverse) > _Z * error:
        seen.append(
            f"log Z is {reverse:.3f} from the samples and {forward:.3f} from held-out configurations, "
            f"{abs(forward - reverse) / error:.0f} standard errors apart"
        )
    if found["forward_ess"] < found["reverse_ess"] / 3:
        seen.append(
            f"the effective sample size is {found['reverse_ess']:.2g} per sample by the samples' own weights, and "
            f"{found['forward_ess']:.2g} by those of held-out configurations"
        )
    if not seen:
        return None
    text = "; ".join(seen)
    return f"{text[0].upper()}{text[1:]}. {_ADVICE}"


def _checked(lw_model, lw_data):
    sides = []
    for name, values, bad in (("lw_model", lw_model, np.inf), ("lw_data", lw_data, -np.inf)):
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 1 or len(values) < 2:
            raise ValueError(f"{name} has shape {values.shape}; give at least two log-weights in one dimension")
        wrong = np.isnan(values) | (values == bad)
        if wrong.any():
            raise ValueError(f"{name} is NaN or {bad:+} in {wrong.sum()} of {len(values)} entries")
        sides.append(values)
    if np.isneginf(sides[0]).all():
        raise ValueError("all model samples have weight zero")
    if np.isposinf(sides[1]).all():
        raise ValueError("the model gives density zero to all held-out configurations")
    return sides


def _log_mean(log_values, n_independent):
    """log of a mean with its standard error, to which the share of the largest term is added against heavy tails."""
    largest = log_values.max()
    scaled = np.exp(log_values - largest)
    mean = scaled.mean()
    sampling = scaled.std(ddof=1) / mean / np.sqrt(n_independent)
    return Estimate(float(largest + np.log(mean)), float(np.hypot(sampling, 1 / scaled.sum())))
