"""A diffusion model of the samples of a one-step generator, fitted while they change or once it is done."""

import torch

from openmm_diffsampler.diffusion import (
    LevelTables,
    NoiseSchedule,
    measure_levels,
    path_samples,
    place_levels,
    reverse_spreads,
)
from openmm_diffsampler.networks import EquivariantNetwork, PreconditionedScore, network_for

from .levels_density import stratified
from .loaded_states import checked_tables, load_weights
from .training import TrainingDivergedError

__all__ = ["Companion"]

#: Times at which the preconditioning and the reverse process are tabulated.
_N_GRID = 33


class Companion(torch.nn.Module):
    r"""s(x, t) ≈ ∇log g_s(x), g_s being the density of samples plus N(0, s²), by denoising score matching:

    .. math:: L = \mathrm{E}\,|s(x + s\varepsilon, t) + \varepsilon/s|^2/b^2, \qquad b = \tau/(s\sqrt{\tau^2 + s^2}),

    for a density of width τ: what the score of a Gaussian leaves counts alike at every level. The loss is 1 if
    the width alone is known.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`, for shape, symmetry, periods and the energy in weights.
        settings: :class:`~openmm_diffsampler.samplers.DiKLSettings`.
        part: whose width, layers and learning rate it has: ``"score"``, of the training, or ``"path"``, of the weights.

    Attributes:
        schedule: :class:`~openmm_diffsampler.diffusion.NoiseSchedule` from s_min to s_prior.
        tables: :class:`~openmm_diffsampler.diffusion.LevelTables` of the reverse process, from :meth:`measure`.

    References:
        Vincent, A connection between score matching and denoising autoencoders, Neural Computation 23 (2011).
    """

    def __init__(self, target, settings, part):
        super().__init__()
        self.target, self.settings, self.part = target, settings, part
        self.learning_rate = getattr(settings, f"{part}_learning_rate")
        self.schedule = NoiseSchedule(settings.s_min, settings.s_prior)
        size = {"width": getattr(settings, f"{part}_width"), "n_layers": getattr(settings, f"{part}_layers")}
        network = network_for(target, **size, n_waves=settings.score_waves, length=settings.length)
        s = self.schedule.ratio(torch.linspace(0, 1, _N_GRID, dtype=torch.float64))
        inner = (settings.scale**2 + s**2).rsqrt()
        skip = inner**2
        if isinstance(network, EquivariantNetwork):
            inner = torch.ones_like(inner)  # distances are physical
        self.network = PreconditionedScore(network, skip, self._residual_size(s), inner, target.periods)
        flat = torch.zeros(_N_GRID, dtype=torch.float64)
        self.tables = LevelTables(flat, flat + 1)

    def forward(self, x, t):
        """x (n, *event_shape), t (n,) → scores, in single precision."""
        return self.network(x.float(), t.float())

    def score(self, x, t):
        """The same, in the precision of x and the subspace of the target."""
        return self.target.project(self(x, t).to(x.dtype))

    def top(self):
        """The t of s_max, or of what plain reverse KL needs."""
        if self.settings.objective == "reverse-kl":
            return 1 / _N_GRID
        return float(self.schedule.time(torch.tensor(self.settings.s_max, dtype=torch.float64)))

    def set_up(self, run):
        """Make the optimiser of a run; several processes average their gradients."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate, betas=(0.9, 0.99))
        self._fitted, self._optimizer = run.fabric.setup(self.network, optimizer)

    def fit(self, run, samples, n_steps, rate, top):
        """Denoising score matching up to t = `top`.

        Arguments:
            run: the :class:`~openmm_diffsampler.samplers.training.Training`.
            samples: function n → (n, *event_shape) samples of the generator, refined or not.
            n_steps: how many.
            rate: share of the learning rate of the settings.
            top: highest time.

        Returns:
            The mean loss.

        Raises:
            TrainingDivergedError: the loss or its gradient is not finite.
        """
        target, generator, settings, total = self.target, run.generator, self.settings, 0.0
        for group in self._optimizer.param_groups:
            group["lr"] = rate * self.learning_rate
        for _ in range(n_steps):
            x = samples(run.share(settings.batch_size))
            n = len(x)
            t = top * stratified(n, generator).to(x.dtype)
            noise, s = target.normal(n, generator), self.target.per_row(self.schedule.ratio(t))
            got = self._fitted((x + s * noise).float(), t.float())
            error = (got + (noise / s).float()) / self._residual_size(s).float()
            loss = error.square().flatten(1).sum(1).mean() / target.n_degrees_of_freedom
            self._optimizer.zero_grad()
            run.fabric.backward(loss)
            norm = run.fabric.clip_gradients(
                self._fitted, self._optimizer, max_norm=settings.gradient_clip, error_if_nonfinite=False
            )
            if not (loss.isfinite() and norm.isfinite()):
                raise TrainingDivergedError(
                    f"the loss of the {self.part} network or its gradient is not finite; a {self.part}_learning_rate "
                    f"below {self.learning_rate:g} may help"
                )
            self._optimizer.step()
            total += float(loss.detach()) / n_steps
        return total

    def _residual_size(self, s):
        return self.settings.scale / (s * (self.settings.scale**2 + s**2).sqrt())

    @torch.no_grad()
    def measure(self, x, run):
        """Tables of the reverse process, from samples x of what it was fitted to."""

        def exact(x_0, x_t, t, generator):
            return (x_0 - x_t) / self.target.per_row(self.schedule.ratio(t)) ** 2

        tables = measure_levels(self.target, self.score, self.schedule, x, exact, run.generator, _N_GRID)
        self.tables = LevelTables(*(run.agree(table) for table in tables))

    def samples(self, n, generator, n_levels):
        """Samples of its own by the reverse process, with the weights of their paths."""
        times = place_levels(self.tables, n_levels)
        spreads = reverse_spreads(self.schedule, times, self.tables.size)
        prior_scale = (self.settings.scale**2 + self.settings.s_prior**2) ** 0.5
        options = {"spreads": spreads, "prior_scale": prior_scale}
        return path_samples(self.target, self.score, self.schedule, n, times, generator, **options)

    def run_state(self):
        """What a resumed run needs."""
        optimizer = self._optimizer.state_dict()["state"]
        return {
            "companion": dict(self.network.state_dict()),
            "optimizer": {str(k): dict(v) for k, v in optimizer.items()},
        }

    def load_run_state(self, state):
        """Put back what :meth:`run_state` gave."""
        self.network.load_state_dict(state["companion"])
        whole = self._optimizer.state_dict()
        whole["state"] = {int(k): v for k, v in state.get("optimizer", {}).items()}
        self._optimizer.load_state_dict(whole)

    def sampling_state(self):
        """What samples need."""
        return {"diffusion": dict(self.network.state_dict()), "tables": self.tables._asdict()}

    def load_sampling_state(self, state):
        """Put back what :meth:`sampling_state` gave.

        Raises:
            RuntimeError: there is none, in what an earlier version wrote.
        """
        if "diffusion" not in state:
            raise RuntimeError(
                "there is no diffusion model of refined samples, which path weights need; train it again"
            )
        load_weights(self.network, state, "diffusion")
        self.tables = checked_tables(state, "tables", self.target)
