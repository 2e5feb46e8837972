"""Second derivatives of the target inside a network, differentiable themselves."""

import torch

__all__ = ["hessian", "made_definite"]


def hessian(target, x, displacement):
    r"""H = ∇∇u of configurations x (n, *event_shape) → (n, D, D), D numbers a configuration.

    One Hessian–vector product for each coordinate, each of two evaluations. The derivative, for a loss with
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
    r"""Symmetric matrices a (n, D, D) with eigenvalues moved between `least` and `most`, differentiable.

    Rows that are within the bounds stay as they are. Of others, with eigenvectors V that count as constant,

    .. math:: a \mapsto V \,\mathrm{clamp}(\mathrm{diag}(V^\top a V))\, V^\top,

    whose determinant has the right derivative.

    Arguments:
        least: scalar tensor.
        most: number; matrices of a Frobenius norm above count as out of bounds.

    Example:
        >>> made_definite(torch.diag(torch.tensor([-1.0, 2.0])).unsqueeze(0), torch.tensor(0.5), 10.0).diagonal(0, 1, 2)
        tensor([[0.5000, 2.0000]])
    """
    with torch.no_grad():
        one = torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
        _, failed = torch.linalg.cholesky_ex(a - least * one)
        outside = ((failed != 0) | (a.flatten(1).norm(dim=1) > most)).nonzero()[:, 0]
        vectors = torch.linalg.eigh(a[outside])[1]
    values = (vectors.mT @ a[outside] @ vectors).diagonal(dim1=1, dim2=2)
    values = torch.maximum(values, least).clamp(max=most)
    return a.index_copy(0, outside, (vectors * values.unsqueeze(1)) @ vectors.mT)
