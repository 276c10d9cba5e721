"""Clips into a film, a file, a contact sheet."""
