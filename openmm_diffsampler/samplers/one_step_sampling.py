"""Samples of a trained one-step generator: as they are, refined by trajectories, or weighed."""

import torch

from openmm_diffsampler.diffusion import SolverSamples
from openmm_diffsampler.diffusion.kernels import draw_prior, log_normal, wrapped
from openmm_diffsampler.mcmc.hamiltonian import hamiltonian_step
from openmm_diffsampler.mcmc.state import evaluate

from .buffer_start import hamiltonian_step_size
from .companion import Companion
from .latent_encoder import LatentEncoder
from .loaded_states import checked_number, load_weights
from .marginal_density import log_marginal_density
from .replay import ReplayBuffer
from .sampling_options import require_options
from .training import TrainingDivergedError

__all__ = ["OneStepSampling", "one_pass"]

#: Samples that the tables of the reverse process are measured on.
_N_MEASURED = 1024
#: Options of sampling with each kind of weights, and their least values.
_OPTIONS = {None: {"n_refine": 0}, "path": {"n_levels": 2}, "encoder": {"n_draws": 0}}
#: Steps after which the samples change that the diffusion model is fitted to.
_POOL_STEPS = 100


@torch.no_grad()
def one_pass(target, model, n, generator):
    """n latents z ~ N(0, 1) and what a network makes of them, (n, *event_shape) each."""
    z = draw_prior(target, n, 1.0, generator)[0]
    return z, model(z.float()).to(target.dtype)


class OneStepSampling:
    r"""What samples x = g(z) and their weights need beside g, fitted once g is trained.

    - Refinement: Hamiltonian trajectories on the target, from g(z).
    - ``"path"`` weights: a diffusion model (:class:`~openmm_diffsampler.samplers.companion.Companion`) of refined
      samples, which makes samples of its own.
    - ``"encoder"`` weights :math:`e^{-u(x)}/\hat q(x)` of x = g(z) + s ξ, with q(x) averaged
      (:mod:`~openmm_diffsampler.samplers.marginal_density`) over z and draws of p_E(z | x)
      (:class:`~openmm_diffsampler.samplers.latent_encoder.LatentEncoder`); not for coordinates with periods.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        g: the generator, a network.
        settings: :class:`~openmm_diffsampler.samplers.DiKLSettings`.
        seed: of the first weights of the networks.

    Attributes:
        diffusion: the diffusion model.
        encoder: the encoder, or None.
        step_size: of the trajectories, None until all is fitted.
    """

    def __init__(self, target, g, settings, seed):
        self.target, self.g, self.settings, self.step_size = target, g, settings, None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.diffusion = Companion(target, settings, "path").to(target.device)
            self.encoder = LatentEncoder(target, settings).to(target.device) if target.periods is None else None

    @property
    def weight_kinds(self):
        """Kinds of weights that there are, the recommended one first."""
        return ("path",) if self.encoder is None else ("path", "encoder")

    # Fitting.

    def fit(self, run):
        """Fit all of it, in the :class:`~openmm_diffsampler.samplers.training.Training` of the generator.

        Raises:
            TrainingDivergedError: no sample has a finite energy, or a loss is not finite.
        """
        options, target = self.settings, self.target
        n_pairs = run.share(max(options.n_pool, 8 * options.batch_size))
        z, x = one_pass(target, self.g, n_pairs, run.generator)
        step_size = hamiltonian_step_size(target, wrapped(target, x), options.n_refine_leapfrog, run.generator)
        step_size = float(run.agree(torch.tensor(step_size, dtype=torch.float64)))
        self._fit_diffusion(n_pairs, step_size, run)
        if self.encoder is not None:
            valid = x.flatten(1).isfinite().all(1)
            noise = target.normal(n_pairs, run.generator)
            self._fit_encoder(z[valid], (x + options.output_noise * noise)[valid], run)
        self.step_size = step_size  # last: until then there is nothing to sample with

    def _fit_diffusion(self, n_pool, step_size, run):
        """To refined samples, `n_pool` at a time."""
        n_steps = self.settings.n_final_steps
        self.diffusion.set_up(run)
        for k in run.fitting("diffusion model", n_steps):
            if k % _POOL_STEPS == 0:
                state = self._refined(n_pool, run.generator, self.settings.n_refine, step_size)
                valid = state.u.isfinite() & state.x.flatten(1).isfinite().all(1)
                if run.anywhere(not valid.any()):
                    diagnosis = run.sampler.diagnosis()
                    raise TrainingDivergedError(f"no sample of the generator has a finite energy. {diagnosis}")
                pool = ReplayBuffer(state.x[valid], n_pool)
            rate = 0.02 + 0.98 * (1 - k / n_steps) ** 2
            self.diffusion.fit(run, lambda n, pool=pool: pool.x[pool.draw(n, run.generator)], 1, rate, 1.0)
        self.diffusion.measure(pool.x[:_N_MEASURED], run)

    def _fit_encoder(self, z, x, run):
        """To pairs of latents and what the generator makes of them."""
        options = self.settings
        losses = self.encoder.fit((z, x), options.n_final_steps, options.batch_size, run.generator)
        for _ in zip(run.fitting("encoder", options.n_final_steps), losses, strict=False):
            pass
        for parameter in self.encoder.parameters():
            parameter.data = run.agree(parameter.data)

    # Sampling.

    @torch.no_grad()
    def draw(self, n, weights, generator, given):
        """:class:`~openmm_diffsampler.diffusion.solvers.SolverSamples` (n), with weights of a kind, or None.

        Arguments:
            n: samples.
            weights: one of :attr:`weight_kinds`, or None.
            generator: torch Generator.
            given: dict of options that differ from the settings: `n_refine` trajectories without weights, `n_levels` of
                path weights, `n_draws` of encoder weights.

        Raises:
            TypeError, ValueError: an unknown option, or one out of its range.
            RuntimeError: nothing has been fitted.
        """
        given, options = require_options(given, _OPTIONS[weights], weights), self.settings
        if self.step_size is None:
            raise RuntimeError("the sampler has not been trained; call fit() first, or load weights")
        if weights == "path":
            return self.diffusion.samples(n, generator, given.get("n_levels", options.n_path_levels))
        if weights == "encoder":
            return self._encoded(n, generator, given.get("n_draws", options.n_draws))
        state = self._refined(n, generator, given.get("n_refine", options.n_refine), self.step_size)
        return SolverSamples(state.x, torch.zeros_like(state.u), state.u.double())

    def _refined(self, n, generator, n_refine, step_size):
        """States (n) after `n_refine` trajectories on the target."""
        state = evaluate(self.target, wrapped(self.target, one_pass(self.target, self.g, n, generator)[1]))
        for _ in range(n_refine):
            state, _ = hamiltonian_step(self.target, state, step_size, self.settings.n_refine_leapfrog, generator)
        return state

    def _encoded(self, n, generator, n_draws):
        """Samples of the generator itself plus noise, with encoder weights."""
        z, x = one_pass(self.target, self.g, n, generator)
        s, target, noise = self.settings.output_noise, self.target, self.target.normal(n, generator)
        x = x + s * noise
        latents = self.encoder.latents(self.g, x)

        def log_ratio(z, noise):
            return log_normal(target, z, 1.0) + log_normal(target, noise, s) - latents.log_density(z)

        def draw():
            other = latents.draw(generator)
            return log_ratio(other, (x - self.g(other.float()).to(x.dtype)) / s)

        log_q = log_marginal_density(log_ratio(z, noise), draw, n_draws)
        u = target.reduced_potential(x).double()
        return SolverSamples(x, -u - log_q, u)

    # Files.

    def state(self):
        """Nested dict of tensors and plain values that samples need, beside the generator."""
        state = self.diffusion.sampling_state() | {"step size": self.step_size}
        return state if self.encoder is None else state | {"encoder": dict(self.encoder.state_dict())}

    def load_state(self, state):
        """Put back what :meth:`state` gave."""
        self.diffusion.load_sampling_state(state)
        self.step_size = checked_number(state, "step size", optional=True)
        if "encoder" in state and self.encoder is not None:
            load_weights(self.encoder, state, "encoder")
