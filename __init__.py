"""STAGE: a story becomes a film of several shots, each between a start and an end frame."""

WEB_DIRECTORY = "./nodes/web"


async def comfy_entrypoint():
    """What ComfyUI asks for the nodes of this pack."""
    # Imported here only: ComfyUI is not there when tests or tools import this folder.
    from .nodes.extension import StageExtension

    return StageExtension()
