"""Hidden tests to a verdict: the agent's change crosses as a patch, everything else is pristine."""

from cwm_env.grading.admission import Admission, record_expected, validate
from cwm_env.grading.grader import Grader

__all__ = ["Admission", "Grader", "record_expected", "validate"]
