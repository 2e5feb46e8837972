"""Damaged, edited and hostile inputs for everything that is read from disk: ``python -m tests.fuzz --n 10000``."""
