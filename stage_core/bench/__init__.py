"""Measurements on this machine, A against B in one process."""
