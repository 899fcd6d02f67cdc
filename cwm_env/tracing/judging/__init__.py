"""Models that predict executions, and scores of them: endpoint, predictions, baselines, evaluation."""
