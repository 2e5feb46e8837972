"""The interface that every sampler sees: reduced potential and score of a batch, counted and guarded."""

from abc import ABC, abstractmethod
from math import prod

import torch

from openmm_diffsampler._common.names import require_name

from .backends.threads import RenewedLock

__all__ = ["Target"]

_counting = RenewedLock()


class Target(ABC):
    r"""A density p(x) ∝ exp(−u(x)) known through its reduced potential u and its score −∇u.

    Subclasses implement :meth:`_evaluate` in closed form; this class adds what all of them share: shape checks, the
    evaluation count, rows that cannot spoil each other, and first and second derivatives for torch.

    A configuration with NaN, infinite or overlapping coordinates gets u = +inf and a zero score, never NaN, and no
    other row of the batch notices.

    :attr:`n_evaluations` counts: a configuration whose energy and score are computed is one evaluation, and a product
    of its Hessian with a vector is two, what central differences of scores take. They are two also where a closed form
    gives the product, for about the work of two, so that counts do not depend on the backend. A target that rests on
    another counts what it asks of that one. Threads may evaluate one target; a copy counts for itself, pickled or not.

    Arguments:
        event_shape: shape of one configuration: ``(n_particles, n_dimensions)`` for particles, ``(d,)`` otherwise.
        name: how reports call the density.
        translation_invariant: whether u is unchanged when all particles move together. Such a target lives in the
            subspace with the centroid at zero, which :meth:`project` enforces and :meth:`normal` respects.
        dtype: precision of the evaluation and of returned energies (scores come back in the precision of `x`).
        device: where evaluations run.
    """

    #: Logarithm of Z = ∫exp(−u(x))dx where it is known exactly, else None.
    log_Z = None
    #: Openmm Quantity for molecular targets, else None.
    temperature = None
    #: mdtraj Topology where configurations are particles that a trajectory can show, else None.
    topology = None
    #: A configuration of a molecule (n_atoms, 3) in nm to start from, where one is known, else None.
    positions = None
    #: Whether exp(−u) has an integral; not where molecules drift apart for ever.
    is_normalisable = True
    #: Of the coordinates that turn in circles, one turn: a tensor like a configuration, infinite for real numbers; None
    #: where there are none. u has these periods, and Z counts one of each.
    periods = None
    #: Shape of the periodic square lattice that the coordinates of a field lie on, row by row; None elsewhere.
    lattice = None
    #: Where u(−x) = u(x), a vector like a configuration that tells x from −x by the sign of their product; else None.
    mirror = None
    #: Which settings samplers know it by: the name of a built-in system or density, None of any other, whatever the
    #: target is called.
    preset_key = None

    def __init__(self, event_shape, *, name, translation_invariant=False, dtype=torch.float64, device="cpu"):
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(f"dtype is {dtype}; supported are torch.float32 and torch.float64")
        self.event_shape = tuple(event_shape)
        self.name = require_name(name, "the name of a target")
        self.translation_invariant = translation_invariant
        self.dtype = dtype
        self.device = torch.device(device)
        self.n_evaluations = 0

    def __repr__(self):
        return f"{type(self).__name__}(name={self.name!r}, event_shape={self.event_shape}, dtype={self.dtype})"

    def identity(self):
        """Plain values that tell this density from others; an interrupted run goes on only with the same ones."""
        return {"name": self.name, "event shape": list(self.event_shape), "dtype": str(self.dtype)} | self._parameters()

    def _parameters(self):
        """What an analytic density depends on, as plain values."""
        return {}

    @property
    def n_degrees_of_freedom(self):
        """Dimension of the space that the density lives in (without the centroid where that is fixed)."""
        return prod(self.event_shape) - (self.event_shape[-1] if self.translation_invariant else 0)

    @abstractmethod
    def _evaluate(self, x):
        """Reduced potential (n,) and score (n, *event_shape) of `x` by torch operations on x, with no guard."""

    def _score_vjp(self, x, v):
        """vᵀ∂s/∂x for the score s; by default autograd through the closed form."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            score = self._evaluate(x)[1]
            return torch.autograd.grad(score, x, v)[0]

    def _count(self, n):
        """Count n evaluations, also beside other threads."""
        with _counting.lock:
            self.n_evaluations += n

    def _count_products(self, n):
        """Count n products of a Hessian with a vector; nothing where :meth:`_score_vjp` counts what it evaluates."""
        self._count(2 * n)

    def _evaluate_guarded(self, x):
        self._count(len(x))
        u, score = self._evaluate(x)
        valid = u.isfinite() & score.flatten(1).isfinite().all(1) & x.flatten(1).isfinite().all(1)
        if not valid.all():
            u = torch.where(valid, u, torch.inf)
            score = torch.where(self.per_row(valid), score, 0.0)
        return u, score, valid

    def _from_kernel(self, kernel, x):
        """What a compiled kernel gives, which has guarded the rows itself."""
        self._count(len(x))
        u, score = kernel.energy_and_forces(x)
        return u, score, u < torch.inf

    def _score_vjp_guarded(self, x, v):
        self._count_products(len(x))
        product = self._score_vjp(x, v)
        return torch.where(self.per_row(product.flatten(1).isfinite().all(1)), product, 0.0)

    def per_row(self, values):
        """(n,) → (n, 1, …), to go with configurations (n, *event_shape)."""
        return values.reshape(-1, *(1 for _ in self.event_shape))

    def _validated(self, x):
        if not isinstance(x, torch.Tensor):
            raise TypeError(f"x is a {type(x).__name__}; give a torch tensor (torch.as_tensor converts arrays)")
        if x.shape[1:] != self.event_shape or x.ndim != len(self.event_shape) + 1:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; {self.name} takes (n, {', '.join(map(str, self.event_shape))})"
            )
        if x.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"x has dtype {x.dtype}; give float32 or float64")
        if x.device.type != self.device.type:
            raise ValueError(f"x is on {x.device} and the target on {self.device}; move one with .to(...)")
        return x.to(self.dtype)

    def reduced_potential_and_score(self, x, return_mask=False):
        """Reduced potential u and score −∇u of a batch, both differentiable (so u is, twice).

        Arguments:
            x: (n, *event_shape) float32 or float64 tensor; nm for molecules.
            return_mask: also return which rows are valid.

        Returns:
            u: (n,) in kT, +inf for invalid rows.
            score: (n, *event_shape) in 1/nm, zero for invalid rows, in the precision of `x`.
            valid: (n,) bool, only with `return_mask`.

        Raises:
            TypeError, ValueError: `x` is not a float tensor of that shape on the device of the target.
        """
        score_dtype = getattr(x, "dtype", None)
        x = self._validated(x)
        if x.requires_grad and torch.is_grad_enabled():
            u, score, valid = _Evaluation.apply(x, self)
        else:  # the same, without the bookkeeping of derivatives
            u, score, valid = self._evaluate_guarded(x)
        result = u, score.to(score_dtype)
        return (*result, valid) if return_mask else result

    def reduced_potential(self, x):
        """Reduced potential u(x) = E(x)/kT: (n, *event_shape) → (n,), in kT. Twice differentiable."""
        return self.reduced_potential_and_score(x)[0]

    def score(self, x):
        """Score −∇u(x): (n, *event_shape) → (n, *event_shape). Differentiable."""
        return self.reduced_potential_and_score(x)[1]

    def hessian_product(self, x, v):
        """∇∇u(x) v for a vector of each configuration: x, v (n, *event_shape) → (n, *event_shape); no derivatives.

        Two evaluations each. Rows that are not finite are zero.

        Example:
            >>> from openmm_diffsampler import GaussianMixture
            >>> x = torch.tensor([[1.0, 2.0]])
            >>> GaussianMixture([[0.0, 0.0]], scales=0.5).hessian_product(x, x)
            tensor([[4., 8.]], dtype=torch.float64)
        """
        return -self._score_vjp_guarded(self._validated(x), v.to(self.dtype).contiguous())

    def require_start(self, x: torch.Tensor) -> None:
        """Raise a ValueError where configurations (n, *event_shape) cannot be meant as a start; by default none."""
        return None

    def project(self, x):
        """Move the centroid of each configuration to zero if the target is translation invariant."""
        return x - x.mean(-2, keepdim=True) if self.translation_invariant else x

    @property
    def frames_of(self):
        """The target whose positions :meth:`frames` returns, with its topology and temperature."""
        return self

    def frames(self, x, u):
        """Configurations (n, *event_shape) and u (n,), as positions and reduced potentials of :attr:`frames_of`."""
        return x, u

    def normal(self, n, generator):
        """(n, *event_shape) standard normal draws in the subspace that the target lives in."""
        noise = torch.randn(n, *self.event_shape, generator=generator, dtype=self.dtype, device=self.device)
        return self.project(noise)

    def sample(self, n, generator):
        """Exact independent samples (n, *event_shape), for densities that have them."""
        raise TypeError(f"{self.name} has no exact sampler; use openmm_diffsampler.HMC or DiffusiveGibbs")

    def noised_score(self, x, alpha, sigma):
        """Exact ∇log p_t(x) of p_t = ∫p(y) N(x; αy, σ²I)dy, for densities that have it in closed form."""
        raise TypeError(f"{self.name} has no closed form for its noised score")


class _Evaluation(torch.autograd.Function):
    """(u, score, valid) with the stored score as first derivative and a vector–Jacobian product as second."""

    @staticmethod
    def forward(ctx, x, target):
        u, score, valid = target._evaluate_guarded(x)
        ctx.target = target
        ctx.save_for_backward(x, score, valid)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(valid)
        return u, score, valid

    @staticmethod
    def backward(ctx, grad_u, grad_score, _):
        x, score, valid = ctx.saved_tensors
        grad = None
        if grad_u is not None:
            grad = -ctx.target.per_row(grad_u) * score
        if grad_score is not None:
            second = torch.where(ctx.target.per_row(valid), _ScoreVJP.apply(x, grad_score, ctx.target), 0.0)
            grad = second if grad is None else grad + second
        return grad, None


class _ScoreVJP(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, v, target):
        return target._score_vjp_guarded(x, v)

    @staticmethod
    def backward(ctx, _):
        raise RuntimeError("energies are differentiable twice, not three times")
