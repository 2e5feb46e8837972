"""An mdtraj topology for particles that no force field knows."""

__all__ = ["particle_topology"]


def particle_topology(n_particles):
    """One chain, one residue, `n_particles` argon atoms named Ar1, Ar2, …, no bonds: an mdtraj Topology.

    Example:
        >>> particle_topology(4)  # doctest: +ELLIPSIS
        <mdtraj.Topology with 1 chains, 1 residues, 4 atoms, 0 bonds at ...>
    """
    import mdtraj

    topology = mdtraj.Topology()
    residue = topology.add_residue("CLU", topology.add_chain())
    for i in range(n_particles):
        topology.add_atom(f"Ar{i + 1}", mdtraj.element.argon, residue)
    return topology
