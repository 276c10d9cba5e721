"""Fused operations of our transformers: PyTorch defines each, CUDA does it in one pass."""
