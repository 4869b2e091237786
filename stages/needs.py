"""What must be there before a stage starts to work."""

from __future__ import annotations

from hpnet.params import Params


def require_weights(params: Params, *roles: str) -> None:
    """Stop before any work where weights that the parameters name are missing.

    Args:
        roles: detector, pose or video: the networks that count; by default all that the project will need.

    Raises:
        FileNotFoundError: one line per network: what to fetch, from where, and where to put it.
    """
    models = (params.detect.model, params.estimate.model, params.train.hpnet.video)
    if all(name.startswith("mannequin-") for name in models):
        return  # packaged
    from hpnet.weights import catalogue

    catalogue.require([entry for entry in catalogue.needed(params) if not roles or entry.role in roles])
