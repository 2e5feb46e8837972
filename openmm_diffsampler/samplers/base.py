"""What samplers that learn have in common: fit, sample, save, load."""

from __future__ import annotations

import copy
import os
import warnings
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch

from openmm_diffsampler._common.quoting import shown
from openmm_diffsampler.analysis import WeightedTrajectory
from openmm_diffsampler.analysis.forward_diagnostics import forward_diagnostics
from openmm_diffsampler.targets import load_system

from .sampler_files import load_folder, pretrained_folder, save_folder
from .saved_systems import warn_if_unsaved
from .settings import LARGEST_NUMBER, whole_number
from .training import Training

if TYPE_CHECKING:
    from openmm_diffsampler.targets import Target

__all__ = ["MissedModeWarning", "Sampler"]

#: With fewer samples than this, weights are not compared with those of held-out configurations.
_FEWEST_COMPARED = 1000


class MissedModeWarning(UserWarning):
    """Samples and held-out configurations disagree about the weights: the sampler leaves something out."""


class Sampler(ABC):
    """A generator of independent, weighted samples of a target, trained from energies and scores alone.

    Subclasses say how the model is built, what the loss of a step is, and how samples are drawn.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        preset: name of a set of settings.
        seed: of all random numbers of the training.
        settings: those that differ from the preset.

    Attributes:
        model: the network under training.
        average: its averaged weights, which samples are made with.
        record: how the weights came about: steps, evaluations, seconds.
        held_out: (m,) log-weights, of the first kind, of equilibrium configurations, or None; those of the
            Boltzmann generator have never been trained on.
        diagnostics: :class:`~openmm_diffsampler.analysis.ForwardDiagnostics` of the last :meth:`sample`, or None.
    """

    #: Name of the method, in commands and folders.
    method = None
    #: Kinds of weights, the recommended one first.
    weight_kinds = ()
    #: Kinds whose weights belong to a density of the sample itself, log q(x) = −u − log w.
    density_kinds = ()
    #: Precision of the network in training, where nothing else is asked for, as Fabric names it; or "auto".
    precision = "auto"
    #: Samples at a time, where nothing else is asked for.
    sampling_batch = 128
    #: Whether this process is the one of several that saves and prints.
    is_first_process = True

    def __init__(self, target: Target, preset: str = "default", *, seed: int = 0, **settings: Any) -> None:
        if not target.is_normalisable:
            raise ValueError(
                f"{target.name} has molecules that nothing holds together: its density has no integral, and there is "
                "nothing to learn; restrain them, for example by targets.with_restrained_fragments"
            )
        self.target, self.preset, self.seed = target, preset, whole_number("seed", seed, -LARGEST_NUMBER)
        self.settings = self._settings(preset, settings)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.model = self._build().to(target.device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.held_out = self.diagnostics = None
        self.record = {"n_steps": 0, "n_evaluations": 0, "seconds": 0.0}

    @property
    def sampled(self):
        """The density that is learnt: that of the target, in the coordinates of the method."""
        return self.target

    # What a method is.

    @abstractmethod
    def _settings(self, preset, changes):
        """The dataclass of settings."""

    @abstractmethod
    def _build(self):
        """A new model, a torch module."""

    def _set_up(self, run):
        """Make what a run needs beside its state, such as a second optimiser; first of all, resumed or not."""
        return None

    @abstractmethod
    def _prepare(self, run):
        """Set up what training needs beside the model."""

    @abstractmethod
    def _loss(self, run):
        """The loss of one step, a scalar tensor, and its metrics, a dict of floats."""

    def _after_step(self, run):
        """Work between steps, such as an outer loop; returns metrics."""
        return {}

    def _is_done(self, run):
        """Whether training may stop early."""
        return False

    def _finish(self, run):
        """What is measured once training is over."""
        return None

    def diagnosis(self) -> str:
        """What is known about a training, in sentences; one says so where nothing is."""
        return self._diagnosis() or "Nothing is known of its training: it was not trained in this process."

    def _diagnosis(self) -> str:
        """What is known about a training, or nothing."""
        return ""

    @abstractmethod
    def _training_state(self):
        """Nested dict of tensors and plain values that a resumed run needs, beside model and optimiser."""

    @abstractmethod
    def _load_training_state(self, state):
        """Put back what :meth:`_training_state` gave."""

    def _sampling_state(self):
        """Nested dict of tensors and plain values that samples need, beside the weights."""
        return {}

    def _load_sampling_state(self, state):
        """Put back what :meth:`_sampling_state` gave."""
        return None

    @abstractmethod
    def _draw(self, n, weights, generator, given):
        """:class:`~openmm_diffsampler.diffusion.solvers.SolverSamples`; `weights` None leaves its weights unused."""

    # What every method does alike.

    def fit(
        self,
        n_steps=None,
        *,
        checkpoint=None,
        checkpoint_every=1000,
        metrics=None,
        metrics_every=50,
        progress=False,
        precision="auto",
        fabric=None,
    ):
        """Train from energies and scores.

        Arguments:
            n_steps: steps in all; by default those of the settings.
            checkpoint: folder to save the run in. If it holds an interrupted run of the same settings, that run goes on
                as if it had never stopped: on one CPU process with the same losses, bit for bit.
            checkpoint_every: steps from one checkpoint to the next; one is written on an interrupt, too.
            metrics: folder of ``metrics.csv`` and TensorBoard events; by default that of the checkpoint.
            metrics_every: steps a row.
            progress: show a progress bar.
            precision: of the network, as Fabric names it; "auto" is that of the method, in general products in bfloat16
                ("bf16-mixed") where the processor has them, which halves the time of a step, and all in single
                precision elsewhere. Samples are always made in single precision, energies in that of the target.
            fabric: a launched ``lightning.fabric.Fabric`` for devices, precision and processes of your choice; by
                default the device of the target, and all processes of ``torchrun``.

        Returns:
            The sampler.

        Raises:
            TypeError: a number that is no integer, a folder that is no path.
            ValueError: a sampler that is trained already, no steps, a checkpoint of another run or a damaged one.
            RuntimeError: the sampler was made within ``torch.inference_mode()``.
            TrainingDivergedError: the loss is not finite any more or a thousand times what it was.
            KeyboardInterrupt: after an interrupt, with the checkpoint written.

        Warns:
            UnsavedSystemWarning: :meth:`save` will not be able to save the molecule.
        """
        if self.record["n_steps"]:
            raise ValueError(
                f"the sampler has been trained for {self.record['n_steps']} steps; make a new one, and give it the "
                "checkpoint of an interrupted run to go on"
            )
        n_steps = whole_number("n_steps", self.settings.n_steps if n_steps is None else n_steps)
        checkpoint_every = whole_number("checkpoint_every", checkpoint_every)
        metrics_every = whole_number("metrics_every", metrics_every)
        for name, folder in (("checkpoint", checkpoint), ("metrics", metrics)):
            if not isinstance(folder, str | os.PathLike | None):
                raise TypeError(f"{name} is {shown(folder)}; give the path of a folder, or None")
        if next(self.model.parameters()).is_inference():
            raise RuntimeError(
                "the sampler was made within torch.inference_mode(), which rules out gradients; make it outside"
            )
        if os.environ.get("RANK", "0") == "0":
            warn_if_unsaved(self.target.frames_of)
        training = Training(self, n_steps, fabric, self.precision if precision == "auto" else precision)
        self.is_first_process = training.rank == 0
        training.run(checkpoint, checkpoint_every, metrics, metrics_every, progress)
        return self

    def sample(self, n, weights="auto", *, seed=0, batch_size=None, progress=False, **options):
        """Independent samples with importance weights.

        Arguments:
            n: samples.
            weights: one of the :attr:`weight_kinds` of the method: ``"density"``: exact weights of a density in closed
                form; ``"annealed"``: the same, of samples that are led to the target first; ``"path"``: exact weights
                of random paths; ``"encoder"``: exact ones of a one-step generator's own samples; ``"ode"``: those of a
                probability flow, exact up to the error of the solver.
                ``"auto"`` is the first that the method has. None: samples alone, all weights equal.
            seed: of the random numbers.
            batch_size: samples at a time.
            progress: show a progress bar.
            options: of the method.

        Returns:
            :class:`~openmm_diffsampler.analysis.WeightedTrajectory` of kind "importance".

        Raises:
            TypeError: a number that is no integer, an unknown option.
            ValueError: fewer than one sample, weights that the method does not have.
            RuntimeError: no sample has a finite energy; some ran off, and weights is None.

        Warns:
            MissedModeWarning: the weights of samples and of held-out configurations disagree: something is left out.
        """
        if not isinstance(weights, str | None) or weights not in ("auto", *self.weight_kinds, None):
            known = ", ".join(map(repr, ("auto", *self.weight_kinds, None)))
            raise ValueError(f"weights is {shown(weights)}; {type(self).__name__} supports {known}")
        weights = self.weight_kinds[0] if weights == "auto" else weights
        batch_size = whole_number("batch_size", self.sampling_batch if batch_size is None else batch_size)
        n, seed = whole_number("n", n), whole_number("seed", seed, -LARGEST_NUMBER)
        from .progress import sampling_progress

        generator = torch.Generator(self.target.device).manual_seed(seed)
        parts = []
        with sampling_progress(self.target.name, n, progress) as advance:
            for start in range(0, n, batch_size):
                parts.append(self._draw(min(batch_size, n - start), weights, generator, options))
                advance(len(parts[-1].x))
        x, log_weights, u = (torch.cat(values) for values in zip(*parts, strict=True))
        ran_off = ~x.flatten(1).isfinite().all(1)
        if weights is None and ran_off.any():
            raise RuntimeError(f"{int(ran_off.sum())} of {n} samples of {self.target.name} ran off; ask for weights")
        x[ran_off] = 0.0  # a place to be; the weight is zero
        valid = u.isfinite() & ~ran_off & ~log_weights.isnan()
        log_weights = torch.where(valid, log_weights, -torch.inf) if weights else torch.zeros_like(u)
        if not log_weights.gt(-torch.inf).any():
            raise RuntimeError(f"none of {n} samples of {self.target.name} has a weight; the sampler needs training")
        x, u = self.target.frames(x, u)
        wt = WeightedTrajectory(
            x.cpu(),
            log_weights.cpu(),
            kind="importance",
            topology=self.target.frames_of.topology,
            temperature=self.target.frames_of.temperature,
            reduced_potential=torch.where(ran_off, torch.inf, u).cpu(),
            log_q=torch.where(valid, -u - log_weights, -torch.inf).cpu() if weights in self.density_kinds else None,
        )
        usual = weights == self.weight_kinds[0] and all(value is None for value in options.values())
        self.diagnostics = self._compared(log_weights.cpu()) if usual else None
        if self.diagnostics is not None and self.diagnostics.warning:
            warnings.warn(self.diagnostics.warning, MissedModeWarning, stacklevel=2)
        return wt

    def _compared(self, log_weights):
        """The weights of samples against those of held-out configurations, where there are any."""
        if self.held_out is None or len(log_weights) < _FEWEST_COMPARED or len(self.held_out) < 2:
            return None
        return forward_diagnostics(log_weights, self.held_out)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write ``sampler.json`` (settings and how the weights came about) and ``model.safetensors`` into `folder`.

        A molecule that is not a built-in one in every respect is saved beside them, in ``system/``. ``sampler.json``
        has checksums of all of it. A sampler that is there is replaced.

        Arguments:
            folder: made if absent.
            overwrite: whether files of these names that are of no sampler are replaced too.

        Raises:
            FileExistsError: there are such files.
            OSError: a file cannot be written; a sampler that was there stays.

        Warns:
            UnsavedSystemWarning: the molecule cannot be saved, and has to be given when the sampler is loaded.
        """
        save_folder(self, folder, overwrite)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], target: Target | None = None, *, trust: bool = False) -> Sampler:
        """The sampler that :meth:`save` wrote.

        Arguments:
            folder: where it is.
            target: what it samples; by default the molecule that was saved with it, or the built-in system of the
                recorded name.
            trust: run Python code that the saved molecule holds, see :func:`~openmm_diffsampler.load_system`.

        Raises:
            FileNotFoundError: a file is missing.
            TypeError: `target` is no target.
            UntrustedCodeError: the saved molecule holds code; a ValueError.
            DamagedFileError: a file is not what was written, or files of two trainings were mixed; a ValueError.
            ValueError: another method or target.

        Warns:
            UnsealedFileWarning: a file of an earlier version, which wrote no checksums.
        """
        return load_folder(cls, folder, target, trust=trust)

    @classmethod
    def pretrained(cls, name: str) -> Sampler:
        """The sampler that comes with a built-in system, by the name of the system.

        Raises:
            FileNotFoundError: there is none.

        Example:
            >>> from openmm_diffsampler import IDEM
            >>> IDEM.pretrained("gmm40").sample(5, seed=0).x.shape
            torch.Size([5, 2])
        """
        return cls.load(pretrained_folder(name, cls.method), load_system(name).target())
