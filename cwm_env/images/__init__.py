"""Images: recipes built into root file systems, layer by layer, in a content-addressed cache."""

from cwm_env.images.store import ImageStore

__all__ = ["ImageStore"]
