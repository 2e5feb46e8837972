"""Posterior of a Bayesian logistic regression."""

import hashlib

import torch

from ..base import Target

__all__ = ["LogisticRegression"]


class LogisticRegression(Target):
    r"""Posterior of the weights of a logistic regression with a Gaussian prior on all of them.

    .. math:: u(w, b) = \sum_i \big[\ln(1 + e^{z_i}) - y_i z_i\big] + \frac{|w|^2 + b^2}{2 s^2},
              \qquad z_i = w \cdot \tilde f_i + b,

    with the features standardised by the mean and deviation of those given, f̃ = (f − m)/d; one that never varies counts
    as 0. A configuration is (w, b), of n_features + 1 numbers, the intercept last. Z, the evidence times a constant of
    the prior, is not known.

    Arguments:
        features: (n, n_features).
        labels: (n,) of 0 and 1.
        prior_scale: s.
        name: how reports call the density.
        dtype, device: of the evaluation.

    Raises:
        ValueError: shapes that do not fit, features that are not finite, labels beside 0 and 1, a scale that is not
            positive.

    References:
        The model, with s = 1, is that of the data sets Australian, German and Heart in Song, Zhao & Ermon, "A-NICE-MC",
        NeurIPS 2017.

    Example:
        >>> features = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> target = LogisticRegression(features, [0, 0, 1, 1])
        >>> target
        LogisticRegression(name='logistic regression', event_shape=(2,), dtype=torch.float64)
        >>> target.reduced_potential(torch.zeros(1, 2))  # four times ln 2
        tensor([2.7726], dtype=torch.float64)
        >>> target.predict(torch.tensor([[3.0, 0.0], [2.0, 0.0]]), features)
        tensor([0.0408, 0.2487, 0.7513, 0.9592], dtype=torch.float64)
    """

    def __init__(
        self, features, labels, *, prior_scale=1.0, name="logistic regression", dtype=torch.float64, device="cpu"
    ):
        features, labels = (torch.as_tensor(a, dtype=torch.float64) for a in (features, labels))
        if features.ndim != 2 or 0 in features.shape or labels.shape != features.shape[:1]:
            raise ValueError(
                f"features have shape {tuple(features.shape)} and labels {tuple(labels.shape)}; give (n, n_features) "
                f"and (n,)"
            )
        if not features.isfinite().all():
            raise ValueError("features contain NaN or infinite values")
        if not ((labels == 0) | (labels == 1)).all():
            raise ValueError(f"labels are {labels.unique().tolist()}; give 0 and 1")
        if not 0 < prior_scale < float("inf"):
            raise ValueError(f"prior_scale is {prior_scale}; it must be positive")
        super().__init__((features.shape[1] + 1,), name=name, dtype=dtype, device=device)
        self.prior_scale = float(prior_scale)
        self._mean = features.mean(0)
        spread = (features - self._mean).square().mean(0).sqrt()
        self._spread = torch.where(spread > 0, spread, 1.0)
        self.features = self._standardised(features)
        self.labels = labels.to(dtype=dtype, device=device)

    def _standardised(self, features):
        """(n, n_features) → (n, n_features + 1), the last column for the intercept."""
        scaled = torch.cat([(features - self._mean) / self._spread, torch.ones(len(features), 1).double()], 1)
        return scaled.to(dtype=self.dtype, device=self.device)

    def _parameters(self):
        numbers = torch.cat([self.features, self.labels[:, None]], 1).double().cpu().numpy()
        return {"data": hashlib.sha256(numbers.tobytes()).hexdigest()[:16], "prior scale": self.prior_scale}

    def _evaluate(self, x):
        z = x @ self.features.T
        precision = 1 / self.prior_scale**2
        u = torch.nn.functional.softplus(z).sum(1) - z @ self.labels + 0.5 * precision * x.square().sum(1)
        return u, (self.labels - z.sigmoid()) @ self.features - precision * x

    def predict(self, x, features, weights=None):
        """Posterior predictive probabilities of the label 1.

        Arguments:
            x: (m, n_features + 1) samples of the posterior.
            features: (n, n_features), in the units of those given before.
            weights: (m,) of the samples, normalised here; equal by default.

        Returns:
            (n,) probabilities.

        Raises:
            ValueError: shapes that do not fit.
        """
        x, features = self._validated(x), torch.as_tensor(features, dtype=torch.float64)
        if features.ndim != 2 or features.shape[1] != self.event_shape[0] - 1:
            raise ValueError(f"features have shape {tuple(features.shape)}; give (n, {self.event_shape[0] - 1})")
        if weights is None:
            weights = torch.ones(len(x))
        weights = torch.as_tensor(weights).to(x)
        if weights.shape != x.shape[:1]:
            raise ValueError(f"weights have shape {tuple(weights.shape)}; give ({len(x)},), one a sample")
        return (weights / weights.sum()) @ (x @ self._standardised(features).T).sigmoid()
