"""Pieces that several papers' networks share."""


def scaled(filters, width):
    """Number of filters after the `width` factor: rounded, at least 1; `width=1` gives the paper's own number."""
    return max(1, round(filters * width))
