"""Second derivatives of the target inside a network, differentiable themselves."""

import torch

__all__ = ["hessian", "made_definite"]


def hessian(target, x, displacement):
    r"""H = ∇∇u of configurations x (n, *event_shape) → (n, D, D), D numbers a configuration.

    One Hessian–vector product for each coordinate, each counted as an evaluation. The derivative, for a loss with
    G = ∂loss/∂H, takes two more of each: with h the displacement and e_k the k-th direction,

    .. math:: \nabla_x \mathrm{tr}(G H) = \sum_k \frac{H(x + h e_k)\,G e_k - H(x - h e_k)\,G e_k}{2h} + O(h^2).

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        x: in the precision of the target.
        displacement: h, in the units of x, small against what u is harmonic over.

    Example:
        >>> from openmm_diffsampler import GaussianMixture
        >>> x = torch.zeros(1, 2, dtype=torch.float64)
        >>> hessian(GaussianMixture([[0.0, 0.0]], scales=0.5), x, 1e-3).abs()
        tensor([[[4., 0.],
                 [0., 4.]]], dtype=torch.float64)
    """
    return _Hessian.apply(x, target, displacement)


class _Hessian(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, target, displacement):
        ctx.save_for_backward(x)
        ctx.target, ctx.displacement = target, displacement
        one = _directions(x)
        h = _products(target, x.unsqueeze(1).expand(len(x), len(one), *x.shape[1:]), one.expand(len(x), *one.shape))
        return 0.5 * (h + h.mT)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        shifts = ctx.displacement * _directions(x)
        vectors = (0.5 * (gradient + gradient.mT)).reshape(len(x), *shifts.shape)
        up, down = (_products(ctx.target, x.unsqueeze(1) + shift, vectors).sum(1) for shift in (shifts, -shifts))
        return ((up - down) / (2 * ctx.displacement)).reshape(x.shape), None, None


def _directions(x):
    """Unit vectors of the D coordinates, (D, *event_shape)."""
    d = x[0].numel()
    return torch.eye(d, dtype=x.dtype, device=x.device).reshape(d, *x.shape[1:])


def _products(target, x, v):
    """∇∇u(x) v of x, v (n, D, *event_shape) → (n, D, D)."""
    n, d = x.shape[:2]
    return target.hessian_product(x.flatten(0, 1), v.flatten(0, 1)).reshape(n, d, d)


def made_definite(a, least, most):
    """What symmetric matrices a (n, D, D) lack for eigenvalues between `least` and `most`: zero where they are.

    Example:
        >>> made_definite(torch.diag(torch.tensor([-1.0, 2.0])).unsqueeze(0), 0.5, 10.0)
        tensor([[[1.5000, 0.0000],
                 [0.0000, 0.0000]]])
    """
    one = torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
    _, failed = torch.linalg.cholesky_ex(a - least * one)
    outside = (failed != 0) | (a.diagonal(dim1=1, dim2=2).amax(1) > most)
    lacking = torch.zeros_like(a)
    if outside.any():  # few rows are
        values, vectors = torch.linalg.eigh(a[outside])
        lacking[outside] = (vectors * (values.clamp(least, most) - values).unsqueeze(1)) @ vectors.mT
    return lacking
