"""The pages and pictures that are made from the code, so that they cannot say something else."""

from __future__ import annotations
