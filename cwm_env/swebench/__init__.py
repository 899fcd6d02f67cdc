"""SWE-bench run: predictions to the official verdict and to the hardened one, and models to predictions."""

from cwm_env.swebench.evaluate import Evaluator
from cwm_env.swebench.official import Official
from cwm_env.swebench.predictions import Prediction, load_predictions, write_predictions
from cwm_env.swebench.verdicts import Evaluation, Verdict

__all__ = [
    "Evaluation",
    "Evaluator",
    "Official",
    "Prediction",
    "Verdict",
    "load_predictions",
    "write_predictions",
]
