"""Text into a shot list."""
