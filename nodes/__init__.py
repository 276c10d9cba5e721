"""The nodes: thin adapters between ComfyUI and the engine, and all that knows ComfyUI."""
