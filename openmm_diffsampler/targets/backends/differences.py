"""Second derivatives from differences of forces, where no closed form gives them."""

__all__ = ["STEP", "force_difference"]

#: Length of the displacement in nm, by the precision of the forces.
STEP = {"double": 1e-6, "single": 1e-3}


def force_difference(energy_and_forces, x, v, step):
    """vᵀ∂F/∂x, which is ∂F/∂x·v since the Hessian is symmetric: (F(x + hv̂) − F(x − hv̂))·|v|/2h.

    Arguments:
        energy_and_forces: function from positions (n, n_atoms, 3) to energies and forces.
        x, v: (n, n_atoms, 3).
        step: h in nm.
    """
    norm = v.flatten(1).norm(dim=1).clamp(min=1e-30).reshape(-1, 1, 1)
    shift = step * v / norm
    difference = energy_and_forces(x + shift)[1].double() - energy_and_forces(x - shift)[1].double()
    return difference * norm / (2 * step)
