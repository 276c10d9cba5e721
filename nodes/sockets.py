"""Socket types for the engine's values; pictures and video use the host's own types."""

from __future__ import annotations

from comfy_api.latest import io

StoryboardSocket = io.Custom("STAGE_STORYBOARD")
MemoryPackSocket = io.Custom("STAGE_MEMORY_PACK")
StoryboardModelSocket = io.Custom("STAGE_STORYBOARD_MODEL")
ShotModelSocket = io.Custom("STAGE_SHOT_MODEL")
ShotSocket = io.Custom("STAGE_SHOT")
CastSocket = io.Custom("STAGE_CAST")
