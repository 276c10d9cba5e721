"""Models that draw pairs and film shots."""
