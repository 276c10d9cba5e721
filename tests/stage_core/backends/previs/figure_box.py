"""Where a figure of a staged shot stands in its panels."""


def figure_box(shot, progress):
    """Left, top, right and bottom of the first figure in pixels, also beyond the frame."""
    share = shot.first_share + (1 - shot.first_share) * progress
    camera = shot.path.at(progress)
    flat = camera.picture(camera.seen(shot.actors[0].at(share).bounds()))
    (left, low), (right, high) = flat.min(axis=0), flat.max(axis=0)
    width, height = shot.size
    return (
        width / 2 + left * height,
        height / 2 - high * height,
        width / 2 + right * height,
        height / 2 - low * height,
    )
