"""What a killed server left: its episodes become trajectories, each once, and nothing of them stays on the machine."""

from __future__ import annotations

from pathlib import Path

from cwm_env.sandbox import leases
from cwm_env.server import journal
from cwm_env.server.journal import Past
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


def recover(home: Path, store: TrajectoryStore) -> list[Past]:
    """What the journals of the server before say; what it left on the machine is cleared up, but for what is kept.

    No other server may use ``home``, the directory of journals. Each of them is to be resumed or concluded.

    Raises:
        DiskFull: no space is left.
        TrajectoryError: the store cannot be read or written.
        OSError: a journal cannot be read or written.
    """
    leases.prune()
    store.mend()
    pasts = {path: journal.read(path) for path in home.glob("*.jsonl")}
    _mark_what_is_stored(store, {path: past for path, past in pasts.items() if past})
    for path, past in pasts.items():
        if past is None:
            path.unlink()
    return [past for past in pasts.values() if past]


def conclude(home: Path, store: TrajectoryStore, past: Past, why: str | None) -> None:
    """An episode of the server before is over: it is recorded, once.

    Args:
        why: it could not go on; None where nothing had kept it.

    Raises:
        DiskFull: no space is left.
        TrajectoryError: the store cannot be written.
        OSError: its journal cannot be written.
    """
    path = home / f"{past.id}.jsonl"
    if past.end is None:
        duration = past.steps[-1].time if past.steps else 0.0
        error = LOST if why is None else f"the server that ran it was killed, and it could not go on: {why}"
        past.end = {"grade": None, "failure": "lost", "error": error, "duration": duration}
        journal.note_end(path, past.end)
    keep(store, path)


def _mark_what_is_stored(store: TrajectoryStore, pasts: dict[Path, Past]) -> None:
    """A server may have been killed between storing a trajectory and saying so in the journal."""
    doubtful = {past.begun["episode"]: path for path, past in pasts.items() if past.end and not past.stored}
    if not doubtful or not store.path.exists():
        return
    for trajectory in store:
        if path := doubtful.get(trajectory.episode):
            journal.mark_stored(path)
