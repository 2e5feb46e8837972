"""Interrupted runs on disk: blocks of draws, each with the state of the chains after it."""

import hashlib
import json
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

__all__ = ["Checkpoint"]


class Checkpoint:
    """A folder of files ``block-00000.safetensors``, …, each written whole or not at all.

    A block holds the draws since the block before it, the state of chains and random numbers, and the settings of the
    run, so that the newest block is all that a resumed run needs beside the earlier draws.

    Arguments:
        folder: where blocks are; made if absent.
        settings: plain values that a resumed run must share.
        initial: starting positions, which it must share too.
    """

    def __init__(self, folder, settings, initial):
        self.folder = Path(folder)
        start = hashlib.sha256(initial.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]
        self.settings = settings | {"initial positions": start, "shape": list(initial.shape)}
        self.n_saved = 0

    def _blocks(self):
        return sorted(self.folder.glob("block-*.safetensors"))

    def load(self, drawn):
        """Append saved draws to `drawn`; return (tensors, numbers) of the newest block, or None if there is none.

        Raises:
            ValueError: a damaged block, or one of another run.
        """
        newest = None
        for path in self._blocks():
            try:
                with safe_open(path, "pt") as block:
                    metadata = json.loads(block.metadata()["run"])
                    tensors = {name: block.get_tensor(name) for name in block.keys()}  # noqa: SIM118
            except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
                reason = f"{path} is damaged ({error}); delete the folder {self.folder} to start over"
                raise ValueError(reason) from None
            self._require_same(metadata["settings"], path)
            for x, u in zip(tensors.pop("drawn x", ()), tensors.pop("drawn u", ()), strict=True):
                drawn.positions.append(x.clone())
                drawn.energies.append(u.clone())
            newest = tensors, metadata["numbers"]
        if len(drawn) > drawn.n_draws:
            raise ValueError(
                f"{self.folder} holds {len(drawn)} draws, more than the {drawn.n_draws} asked for; ask for at least as "
                "many, or delete the folder to start over"
            )
        self.n_saved = len(drawn)
        return newest

    def _require_same(self, settings, path):
        ours = json.loads(json.dumps(self.settings))
        differing = [name for name in ours if ours[name] != settings.get(name)]
        if differing:
            raise ValueError(
                f"{path.parent} holds a run with another {', '.join(differing)}; use the settings of that run to go on "
                "with it, or delete the folder to start over"
            )

    def save(self, drawn, tensors, numbers):
        """Write the draws that no block holds yet, with the state after them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        if len(drawn) > self.n_saved:
            tensors |= {"drawn x": drawn.x(self.n_saved), "drawn u": drawn.u(self.n_saved)}
        path = self.folder / f"block-{len(self._blocks()):05d}.safetensors"
        unfinished = path.with_suffix(".unfinished")
        save_file(tensors, unfinished, {"run": json.dumps({"settings": self.settings, "numbers": numbers})})
        os.replace(unfinished, path)
        self.n_saved = len(drawn)
