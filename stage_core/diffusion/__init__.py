"""The mathematics of flow-matching samplers."""
