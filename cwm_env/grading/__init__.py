"""Hidden tests to a verdict: the agent's change crosses as a patch, everything else is pristine."""

from cwm_env.grading.grader import Grader

__all__ = ["Grader"]
