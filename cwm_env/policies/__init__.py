"""What acts in an episode: a solution, a script, a model."""

from cwm_env.policies.base import Policy
from cwm_env.policies.registry import make_policy
from cwm_env.policies.rollout import Rollouts, rollout

__all__ = ["Policy", "Rollouts", "make_policy", "rollout"]
