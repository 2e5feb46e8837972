"""The training loop that every sampler shares: processes, averaging, metrics, checkpoints, diagnosis."""

import contextlib
import math
import os
import time

import torch

from openmm_diffsampler._common.interrupts import Interrupts, listening

from .metrics import MetricsLog, require_own_metrics
from .progress import sampling_progress, training_progress
from .run_checkpoints import RunCheckpoints

__all__ = ["Training", "TrainingDivergedError"]

#: Steps over which the learning rate rises.
_WARMUP = 200
#: A stretch of steps whose mean loss is that many times the lowest one so far has diverged.
_EXPLOSION = 1e3
#: Lowest losses closer to zero than this count as this.
_SMALL = 1e-2


class TrainingDivergedError(RuntimeError):
    """The loss or its gradient is not finite, or the loss exploded."""


class Training:
    """One run of a sampler's training.

    Arguments:
        sampler: a :class:`~openmm_diffsampler.samplers.base.Sampler`.
        n_steps: steps in all.
        fabric: a launched Fabric, or None.
        precision: of the network in training, as Fabric names it, or "auto"; unused with a Fabric.

    Attributes:
        step: steps done.
        generator: torch Generator of this process.
        rank, n_processes: of this process, and how many there are.
        progress: whether this process shows progress.
        interrupted: :class:`~openmm_diffsampler._common.interrupts.Interrupts`, true once somebody wants the run to
            stop.
        model: the sampler's, wrapped for several processes.
    """

    def __init__(self, sampler, n_steps, fabric=None, precision="auto"):
        self.sampler, self.n_steps = sampler, n_steps
        self.fabric = fabric or _fabric(sampler.target.device, precision)
        self.rank, self.n_processes = self.fabric.global_rank, self.fabric.world_size
        self.step, self.seconds, self._best, self._is_finite = 0, 0.0, math.inf, True
        self.progress, self.interrupted = False, Interrupts()
        device = sampler.target.device
        self.generator = torch.Generator(device).manual_seed(sampler.seed + 1_000_003 * self.rank)
        settings = sampler.settings
        optimizer = torch.optim.Adam(sampler.model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))
        self.model, self.optimizer = self.fabric.setup(sampler.model, optimizer)
        self._start_evaluations = sampler.target.n_evaluations

    def share(self, n):
        """This process's part of n."""
        return max(1, n // self.n_processes)

    def agree(self, tensor):
        """The tensor of the first process, in all of them."""
        return self.fabric.broadcast(tensor) if self.n_processes > 1 else tensor

    def anywhere(self, flag):
        """Whether the flag is set in any process."""
        if self.n_processes == 1:
            return flag
        return bool(self.fabric.all_reduce(torch.tensor(float(flag)), reduce_op="sum") > 0)

    def mean(self, tensor):
        """The mean of the tensors of all processes."""
        return self.fabric.all_reduce(tensor, reduce_op="mean") if self.n_processes > 1 else tensor

    def fitting(self, what, n_steps):
        """Numbers of the steps that fit something for weights once the training is over, shown as they pass.

        Raises:
            KeyboardInterrupt: in all processes alike, if somebody wants the run to stop.
        """
        name = f"{self.sampler.target.name}, {what}"
        with sampling_progress(name, n_steps, self.progress, unit="steps") as advance:
            for step in range(n_steps):
                yield step
                if self.anywhere(bool(self.interrupted)):
                    raise KeyboardInterrupt(f"stopped after the last step, while the {what} was fitted for weights")
                advance(1)

    @property
    def n_evaluations(self):
        """Evaluations of this run so far, in this process."""
        return self.sampler.target.n_evaluations - self._start_evaluations

    def run(self, checkpoint, checkpoint_every, metrics, metrics_every, progress):
        """Train, and leave the record in the sampler; see :meth:`Sampler.fit`."""
        start = time.perf_counter()
        store = None if checkpoint is None else RunCheckpoints(checkpoint, self)
        folder = metrics if metrics is not None else checkpoint
        if self.rank == 0:
            require_own_metrics(folder)
        self.progress, self._doing = progress and self.rank == 0, "before the first step"
        try:
            with (
                listening() as self.interrupted,
                contextlib.nullcontext() if store is None else store.held(),
                torch.inference_mode(False),
                torch.enable_grad(),  # wherever it is called from
            ):
                seconds = self._train(store, checkpoint_every, folder, metrics_every, start)
        except KeyboardInterrupt as interrupt:
            stage = str(interrupt) or f"stopped {self._doing}"
            raise KeyboardInterrupt(f"{stage}; {self._kept(store)}") from None
        self._leave_record(seconds)

    def _train(self, store, checkpoint_every, folder, metrics_every, start):
        """All that a run does while it holds its folder; returns the seconds of all runs that led here."""
        self.sampler._set_up(self)
        gathered = None if store is None else store.load()
        before = self.seconds
        if self.step == 0:
            self.sampler._prepare(self)
        log = MetricsLog(folder, metrics_every, self.step, gathered) if self.rank == 0 else None
        name = self.sampler.target.name
        bar = training_progress(name, self.n_steps, self.step, lambda: self.n_evaluations, self.progress)
        with bar as advance, self.interrupted.deferred():
            while not self._is_over():
                self._doing = f"in step {self.step + 1} of {self.n_steps}"
                values = self._one_step()
                self.seconds = before + time.perf_counter() - start
                row = None if log is None else log.add(self.step, values | {"seconds": self.seconds})
                self._check(row, store)
                advance(self.step, values)
                stop = self.anywhere(bool(self.interrupted))
                due = self.step % checkpoint_every == 0 or self._is_over()
                if store is not None and (due or stop):
                    store.save({} if log is None else log.state_dict())
                if stop:
                    raise KeyboardInterrupt(f"stopped after {self.step} of {self.n_steps} steps")
        self._doing = "after the last step, while sampling was prepared"
        # Of several processes, all have to stop at the same place.
        with contextlib.nullcontext() if self.n_processes == 1 else self.interrupted.deferred():
            self.sampler._finish(self)
        if log is not None:
            log.close()
        return before + time.perf_counter() - start

    def _kept(self, store):
        """What an interrupt leaves, for its message."""
        if store is None:
            return "nothing was kept, since no checkpoint was asked for"
        newest = store.newest()
        if newest is None:
            return "nothing was kept yet"
        what = "all of it" if newest == self.step else f"the first {newest} steps"
        return f"the checkpoint in {store.folder} holds {what}"

    def _is_over(self):
        return self.step >= self.n_steps or self.sampler._is_done(self)

    def _leave_record(self, seconds):
        evaluations = self.n_evaluations
        if self.n_processes > 1:
            evaluations = int(
                self.fabric.all_reduce(torch.tensor(float(evaluations), dtype=torch.float64), reduce_op="sum")
            )
        self.sampler.record = {
            "n_steps": self.step,
            "n_evaluations": evaluations,
            "seconds": round(seconds, 1),
            "processes": self.n_processes,
            "threads": torch.get_num_threads(),
        }

    def _one_step(self):
        settings = self.sampler.settings
        rate = settings.learning_rate
        if settings.decay:
            rate *= min(1.0, (self.step + 1) / _WARMUP) * 0.5 * (1 + math.cos(math.pi * self.step / self.n_steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, metrics = self.sampler._loss(self)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.model, self.optimizer, max_norm=settings.gradient_clip, error_if_nonfinite=False
        )
        values = {"loss": float(loss.detach()), "gradient norm": float(norm)} | metrics
        self._is_finite = math.isfinite(values["loss"]) and math.isfinite(values["gradient norm"])
        if not self._is_finite:
            self.step += 1
            return values  # the weights stay as they are, and the check reports
        self.optimizer.step()
        self.step += 1
        self._average(settings.ema_decay)
        values |= self.sampler._after_step(self)
        return values | {"learning rate": rate, "evaluations": self.n_evaluations}

    @torch.no_grad()
    def _average(self, decay):
        decay = min(decay, (1 + self.step) / (10 + self.step))
        for kept, new in zip(self.sampler.average.parameters(), self.sampler.model.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)

    def _check(self, row, store):
        if self._is_finite and row is None:
            return
        loss = row["loss"] if self._is_finite else math.nan
        problem = None
        if not math.isfinite(loss):
            problem = "the loss or its gradient is not finite"
        elif loss - self._best > _EXPLOSION * max(abs(self._best), _SMALL):  # a log-likelihood may be negative
            problem = f"the loss is {loss:.3g}, after it had been {self._best:.3g}"
        self._best = min(self._best, loss)
        if problem is None:
            return
        good = None if store is None else store.newest()
        kept = f"the last good checkpoint is step {good} in {store.folder}" if good else "there is no checkpoint"
        raise TrainingDivergedError(
            f"training diverged at step {self.step}: {problem}; {kept}. {self.sampler.diagnosis()} A learning_rate "
            f"below {self.sampler.settings.learning_rate:g}, or a lower gradient_clip may help"
        )

    def state(self):
        """Everything that a resumed run needs, of this process."""
        optimizer = self.optimizer.state_dict()["state"]
        return {
            "step": self.step,
            "seconds": self.seconds,
            "best": self._best,
            "n_evaluations": self.n_evaluations,
            "model": dict(self.sampler.model.state_dict()),
            "average": dict(self.sampler.average.state_dict()),
            "optimizer": {str(k): dict(v) for k, v in optimizer.items()},
            "generator": self.generator.get_state(),
            "sampler": self.sampler._training_state(),
        }

    def load_state(self, state):
        """Put back what :meth:`state` gave.

        The part of the sampler comes first: where that is not what it should be, nothing has changed.
        """
        before = dict(vars(self.sampler))
        try:
            self.sampler._load_training_state(state["sampler"])
        except Exception:
            vars(self.sampler).clear()
            vars(self.sampler).update(before)
            raise
        self.step, self.seconds, self._best = state["step"], state["seconds"], state["best"]
        self._start_evaluations = self.sampler.target.n_evaluations - state["n_evaluations"]
        self.sampler.model.load_state_dict(state["model"])
        self.sampler.average.load_state_dict(state["average"])
        whole = self.optimizer.state_dict()
        whole["state"] = {int(k): v for k, v in state["optimizer"].items()}
        self.optimizer.load_state_dict(whole)
        self.generator.set_state(state["generator"].cpu())


def _fabric(device, precision):
    """One process on the device of the target, or all of ``torchrun``."""
    from lightning_fabric import Fabric

    if precision == "auto":
        has_bfloat16 = torch.cpu._is_avx512_bf16_supported() if device.type == "cpu" else torch.cuda.is_bf16_supported()
        precision = "bf16-mixed" if has_bfloat16 else "32-true"
    local, world = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), int(os.environ.get("WORLD_SIZE", 1))
    accelerator = "cpu" if device.type == "cpu" else "gpu"
    processes = {"devices": local, "num_nodes": world // local, "strategy": "ddp"} if world > 1 else {"devices": 1}
    fabric = Fabric(accelerator=accelerator, precision=precision, **processes)
    fabric.launch()
    return fabric
