"""Weights that do not fit: where they lie, and when they move."""
