"""The compiled backend: a table of terms printed as vector code for one block of configurations.

code.py puts the kernel together from the loops of terms.py and gb_terms.py over the vectors of blocks.py; the loops
print geometry.py and programs.py by the vector instructions of vectors.py and functions.py; machine_code.py compiles
and keeps the result; backend.py runs it.
"""

from .backend import KernelBackend, KernelTooLargeError

__all__ = ["KernelBackend", "KernelTooLargeError"]
