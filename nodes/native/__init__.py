"""The engine's models over ComfyUI's own MODEL, CLIP and VAE: the host samples and has the VRAM."""
