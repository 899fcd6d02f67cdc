"""Gymnasium environments."""

from cwm_env.envs.bash import BashEnv
from cwm_env.envs.spaces import AnyText

__all__ = ["AnyText", "BashEnv"]
