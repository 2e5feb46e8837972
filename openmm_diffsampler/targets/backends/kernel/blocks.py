"""One block of configurations as the code of terms sees it: where its vectors lie, and how to reach them."""

from .vectors import INT

__all__ = ["Block", "Workspace"]


class Workspace:
    """Where the vectors of a block lie: coordinates, gradients, and what terms ask for. Counts are in vectors."""

    def __init__(self, n_atoms, n_dimensions):
        self.n_atoms, self.n_dimensions = n_atoms, n_dimensions
        self.size = 0
        self.x, self.gradient = self.take(n_atoms * n_dimensions), self.take(n_atoms * n_dimensions)

    def take(self, n):
        self.size += n
        return self.size - n


class Block:
    """What the code of terms may use: vectors `v`, addresses of the data, the energy so far, coordinates, gradients."""

    def __init__(self, v, workspace, place, reals, wholes):
        self.v, self.workspace, self.place, self.reals, self.wholes = v, workspace, place, reals, wholes
        self.energy = v.variable()

    def whole(self, start, *index):
        return self.v.scalar(self.wholes, self.v.index(start, *index), INT)

    def atoms(self, start, tuple_index, n):
        """The `n` atoms of a tuple, from a table with one row a tuple."""
        row = self.v.times(tuple_index, n)
        return [self.whole(start + k, row) for k in range(n)]

    def coordinates(self, atom):
        return [self.read(self.workspace.x + c, self.v.times(atom, self.workspace.n_dimensions)) for c in self.axes]

    @property
    def axes(self):
        return range(self.workspace.n_dimensions)

    def address(self, start, index):
        return self.v.row(self.place, self.v.index(start, index))

    def read(self, start, index):
        return self.v.load(self.address(start, index))

    def write(self, value, start, index):
        self.v.store(value, self.address(start, index))

    def accumulate(self, value, start, index):
        self.v.accumulate(value, self.address(start, index))

    def push(self, atom, gradient):
        """Add to the gradient on an atom."""
        row = self.v.times(atom, self.workspace.n_dimensions)
        for c, value in zip(self.axes, gradient, strict=True):
            self.accumulate(value, self.workspace.gradient + c, row)

    def add_energy(self, value):
        self.v.accumulate(value, self.energy)
