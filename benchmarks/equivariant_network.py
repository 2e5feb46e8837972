"""How fast the equivariant network is beside an EGNN over an edge list, as published diffusion samplers have it.

    python benchmarks/equivariant_network.py [--peer egnn.py] [--repeats 7] [--batch 512]

Both have the same layers and width, on 13 particles in 3-D: in the size of the published iDEM runs, and in that of the
package, whose training runs in bfloat16 where the processor has such products. All ways take turns on fresh inputs, and
the table has medians of a forward pass without derivatives, as samples are made, and of both a forward and a backward
pass, a squared error with its gradients for all weights. Ratios are times of the first row over those of the row.

``--peer`` is your own copy of ``dem/models/components/egnn.py`` of github.com/jarridrb/DEM, whose ``EGNN_dynamics`` is
timed. The other EGNN is ours, a stand-in written from the equations of Satorras, Hoogeboom & Welling, E(n) equivariant
graph neural networks, ICML 2021, with the same features of edges: |r|² now, and that of the input.
"""

import argparse
import importlib.util
import sys
import time
from types import ModuleType

import numpy as np
import torch
from torch.nn import Linear, ModuleList, Sequential, SiLU

from openmm_diffsampler import LennardJones
from openmm_diffsampler.networks import EquivariantNetwork
from openmm_diffsampler.samplers.idem_settings import idem_settings

N, DIM = 13, 3
COLUMNS = "network | size | batch | parameters | ms forward | ms both | forward/s | both/s | ratio | ratio, both"


class EdgeListEGNN(torch.nn.Module):
    """Equations 3 to 6 over ordered edges, as samplers use it: h starts as the time, the output is the displacement."""

    def __init__(self, w, n_layers):
        super().__init__()
        each, self.lift = range(n_layers), Linear(1, w)
        self.message = ModuleList(Sequential(Linear(2 * w + 2, w), SiLU(), Linear(w, w), SiLU()) for _ in each)
        self.shift = ModuleList(Sequential(Linear(w, w), SiLU(), Linear(w, 1, bias=False)) for _ in each)
        self.node = ModuleList(Sequential(Linear(2 * w, w), SiLU(), Linear(w, w)) for _ in each)

    def forward(self, x, t):
        pairs, first = (~torch.eye(N, dtype=torch.bool)).nonzero(), N * torch.arange(len(x))
        i, j = (first[:, None, None] + pairs).flatten(0, 1).T
        start = position = x.flatten(0, 1)
        given, h = (start[i] - start[j]).square().sum(1, keepdim=True), self.lift(t.repeat_interleave(N)[:, None])
        for message, shift, node in zip(self.message, self.shift, self.node, strict=True):
            r = position[i] - position[j]
            square = r.square().sum(1, keepdim=True)
            m = message(torch.cat([h[i], h[j], square, given], 1))
            push = r / (1 + (square + 1e-8).sqrt()) * shift(m)
            position = position + torch.zeros_like(position).index_add(0, i, push)
            h = h + node(torch.cat([h, torch.zeros_like(h).index_add(0, i, m)], 1))
        moved = (position - start).reshape(x.shape)
        return moved - moved.mean(1, keepdim=True)


def peer_network(path, width, n_layers):
    """The user's EGNN_dynamics, as (x, t) → like x; what it imports from its package is made up here."""
    stub = sys.modules["dem.utils.data_utils"] = ModuleType("dem.utils.data_utils")
    stub.remove_mean = lambda x, n, dim: x - x.reshape(-1, n, dim).mean(1, keepdim=True)
    spec = importlib.util.spec_from_file_location("peer", path)
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    egnn = module.EGNN_dynamics(N, DIM, hidden_nf=width, n_layers=n_layers)
    return egnn, lambda x, t: egnn(t, x.flatten(1)).reshape(x.shape)


def measure(network, function, batch, generator):
    """Seconds of a forward pass alone, and of one with its backward pass."""
    x, wanted = torch.randn(2, batch, N, DIM, generator=generator)
    t, start = torch.rand(batch, generator=generator), time.perf_counter()
    with torch.no_grad():
        function(x, t)
    middle = time.perf_counter()
    torch.autograd.grad((function(x, t) - wanted).square().sum(), [*network.parameters()], allow_unused=True)
    return middle - start, time.perf_counter() - middle


def compare(size, options):
    """Rows of the table for the settings `size`."""
    ours = EquivariantNetwork(N, DIM, width=size.width, n_layers=size.n_layers)
    torch.nn.init.normal_(ours.push.weight, std=0.01)  # zeros, as a new network has, would stop every gradient
    ways = {"EGNN_dynamics": peer_network(options.peer, size.width, size.n_layers)} if options.peer else {}
    ways["EGNN over an edge list, ours"] = (egnn := EdgeListEGNN(size.width, size.n_layers)), egnn
    ways["EquivariantNetwork"] = ours, ours
    ways["EquivariantNetwork, bfloat16"] = ours, torch.autocast("cpu", torch.bfloat16)(ours.forward)
    batch, generator = options.batch or size.batch_size, torch.Generator().manual_seed(0)
    rounds = [[measure(*way, batch, generator) for way in ways.values()] for _ in range(options.repeats + 1)]
    times = np.median(rounds[1:], axis=0)  # the first one allocates
    for (name, (network, _)), (forward, both) in zip(ways.items(), times, strict=True):
        cells = [name, f"{size.n_layers} × {size.width}", batch, f"{sum(p.numel() for p in network.parameters()):,}"]
        values = [1 / forward, 1 / both, *(times[0] / (forward, both))]
        cells += [f"{1e3 * forward:.0f}", f"{1e3 * both:.0f}", *(f"{value:.2f}" for value in values)]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", metavar="PATH", help="your copy of egnn.py")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, help="configurations; by default those of a training step")
    options = parser.parse_args()
    print(f"median of {options.repeats}, {torch.get_num_threads()} threads\n\n| {COLUMNS} |\n{'|---' * 10}|")
    compare(idem_settings(LennardJones(N), "paper"), options)
    compare(idem_settings(LennardJones(N)), options)


if __name__ == "__main__":
    main()
