"""What episodes leave behind: one line of JSON each."""

from cwm_env.trajectories.record import RecordEpisode
from cwm_env.trajectories.store import TrajectoryStore

__all__ = ["RecordEpisode", "TrajectoryStore"]
