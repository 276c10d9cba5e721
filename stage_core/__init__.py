"""STAGE: a story becomes start and end frames, the frames become shots, the shots become a film."""
