"""Distil several strong text-embedding teachers into one small student, on a Ray cluster."""

__version__ = "0.1.0"
