"""What a killed server left: its episodes become trajectories, each once, and nothing of them stays on the machine."""

from __future__ import annotations

from pathlib import Path

from cwm_env.sandbox import leases
from cwm_env.server import journal
from cwm_env.server.journal import Past
from cwm_env.server.known import KnownEpisode
from cwm_env.trajectories import TrajectoryStore

LOST = "the server that ran it was killed, and its sandbox with it"


def keep(store: TrajectoryStore, path: Path) -> None:
    """Put the trajectory of an episode that is over into the store, unless it is there.

    Raises:
        DiskFull: no space is left.
        TrajectoryError: the store cannot be written.
        OSError: the journal cannot be read or written.
    """
    past = journal.read(path)
    if past is not None and past.end is not None and not past.stored:
        store.append(past.trajectory())
        journal.mark_stored(path)


def recover(home: Path, store: TrajectoryStore, lease: float) -> list[KnownEpisode]:
    """Record the episodes of the server before, and clear up after it. No other server may use ``home``.

    Args:
        home: directory of journals.
        lease: seconds for which their answers can still be asked for.

    Raises:
        DiskFull: no space is left.
        TrajectoryError: the store cannot be read or written.
        OSError: a journal cannot be read or written.
    """
    leases.prune()
    store.mend()
    pasts = {path: journal.read(path) for path in home.glob("*.jsonl")}
    _mark_what_is_stored(store, {path: past for path, past in pasts.items() if past})
    found = []
    for path, past in pasts.items():
        if past is None:
            path.unlink()
            continue
        if past.end is None:
            duration = past.steps[-1].time if past.steps else 0.0
            past.end = {"grade": None, "failure": "lost", "error": LOST, "duration": duration}
            journal.note_end(path, past.end)
        keep(store, path)
        found.append(KnownEpisode.restored(past, home, lease))
    return found


def _mark_what_is_stored(store: TrajectoryStore, pasts: dict[Path, Past]) -> None:
    """A server may have been killed between storing a trajectory and saying so in the journal."""
    doubtful = {past.begun["episode"]: path for path, past in pasts.items() if past.end and not past.stored}
    if not doubtful or not store.path.exists():
        return
    for trajectory in store:
        if path := doubtful.get(trajectory.episode):
            journal.mark_stored(path)
