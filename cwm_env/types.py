"""Frozen data that crosses layers. Standard library only.

Units are stated on every quantity: durations are seconds, sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["resolved", "unresolved", "tampered", "error"]
"""What grading concluded. ``error`` is the infrastructure's failure and carries no reward."""

Runner = Literal["pytest", "unittest", "functions", "junit", "tap", "exit", "script"]
"""What runs hidden tests, and how it says what came out (``docs/grading.md``)."""

OUT_OF_BAND: tuple[Runner, ...] = ("pytest", "unittest", "functions")
"""Those that our own launcher runs, which reports each test on a channel of its own."""

TestStatus = Literal["PASSED", "FAILED", "ERROR", "SKIPPED", "XFAIL", "XPASS", "MISSING"]
"""SWE-bench's words for the status of one test, and ``MISSING`` for one that left no result."""


_PLAIN = 4  # values that every result has


@dataclass(frozen=True)  # without slots: see `made`
class CommandResult:
    """What one command did. Whatever the policy's command does is data, never an exception."""

    output: str
    """Standard output and error in the order written, valid text, the middle cut if too long."""
    exit_code: int
    """As bash reports it in ``$?``; 128 + N after signal N."""
    cwd: str
    """The shell's working directory after the command, an absolute path in the sandbox."""
    duration: float = field(compare=False)
    """Wall time in seconds. Two results are equal if the same happened, however long it took."""
    timed_out: bool = False
    """True where the command was stopped because it reached its time limit."""
    truncated_bytes: int = 0
    """How many bytes of output were left out of the middle."""
    shell_restarted: bool = False
    """True where the command ended its shell and a new one, with its state restored, took over."""
    submitted: bool = False
    """True once the command ``submit`` has run in the sandbox."""
    late_output: str = ""
    """What jobs in the background printed after the last command and before this one; not part of ``output``."""
    output_file: str | None = None
    """Path in the sandbox of the whole output, up to the session's limit, where bytes were left out."""
    surviving_jobs: tuple[str, ...] = field(default=(), compare=False)
    """``PID COMMAND`` of each job that a shell which ended has left running."""
    running: bool = False
    """In a terminal: True while the program has not ended; ``exit_code`` is then -1."""
    screen: str | None = None
    """In a terminal: what it shows, its lines without the blanks at their ends."""
    cpu_time: float | None = field(default=None, compare=False)
    """CPU seconds that the sandbox used meanwhile; None if unknown, as it is for short commands."""
    peak_memory: int | None = field(default=None, compare=False)
    """The most memory, in bytes, that the sandbox has used up to the command's end; None if unknown."""
    limits_hit: tuple[str, ...] = field(default=(), compare=False)
    """The limits that were hit, of ``memory cpus processes disk inodes files output command_timeout``. Asked for after
    commands that failed with a word or took a tenth of a second; what was hit before by a shorter one, or by a job in
    the background, is told with the next of them."""

    @classmethod
    def made(cls, **values: Any) -> CommandResult:
        """As the constructor, at a tenth of its cost, which is a sixth of a whole step; nothing is checked.

        What is not given is found on the class, as the default that it is.
        """
        result = object.__new__(cls)
        result.__dict__.update(values)
        return result

    @property
    def plain(self) -> bool:
        """Whether it is known at a glance that there is nothing to tell beyond the first four values."""
        return len(self.__dict__) == _PLAIN


@dataclass(frozen=True, slots=True)
class Limits:
    """What one episode may use."""

    cpus: float = 2.0
    """CPU cores."""
    memory: int = 4 << 30
    """Bytes of memory, without what files in the sandbox take."""
    processes: int = 512
    """Processes and threads alive at once."""
    disk: int = 2 << 30
    """Bytes that the episode may write to its copy of the image."""
    network: Literal["none", "allow", "host"] = "none"
    """``none`` is loopback only; ``allow`` lets through what ``allow`` names; ``host`` shares the machine's network
    (for building images)."""
    allow: tuple[str, ...] = ()
    """Names and ports that network ``allow`` lets through: ``example.org:443``, ``*.example.org:80,443``."""
    command_timeout: float = 120.0
    """Seconds that one command may take."""
    episode_timeout: float = 2400.0
    """Seconds from ``reset`` until the episode is truncated."""
    turns: int = 128
    """Steps until the episode is truncated."""
    output: int = 64 << 10
    """Bytes of one command's output that are kept; the middle is left out."""


@dataclass(frozen=True, slots=True)
class Image:
    """A root file system in the cache, ready to be cloned."""

    name: str
    digest: str
    """``sha256:…`` over the recipe and everything that it pins."""
    layers: tuple[Path, ...]
    """Directories on the host, the lowest first."""
    workdir: str = "/"
    """Where the repository lies in the image."""
    user: str = "root"
    """The user that commands run as: a name in the image's ``/etc/passwd``, or ``UID[:GID]``."""
    env: Mapping[str, str] = field(default_factory=dict)
    host_mounts: tuple[str, ...] = ()
    """Directories of the machine itself that appear read-only at the same path (base ``host``)."""
    hidden: tuple[str, ...] = ()
    """Directories below ``host_mounts`` that appear empty: nothing in them is the sandbox's business."""


@dataclass(frozen=True, slots=True)
class HiddenTests:
    """How an episode is graded: what runs, and what must come out."""

    directory: Path
    """On the host. Its content appears in ``/tests`` of the grading sandbox, never of the agent's."""
    runner: Runner
    """``pytest``, ``unittest`` (Django's too) and ``functions`` (modules of them, as sympy's runner takes) report each
    test out of band; ``junit``, ``tap`` and ``exit`` are the formats of ``run.sh`` for other languages; ``script`` is
    Harbor's ``test.sh`` with its reward file."""
    paths: tuple[str, ...] = ()
    """What pytest or unittest collects, absolute paths in the sandbox (``/tests`` and the upstream suite)."""
    fail_to_pass: tuple[str, ...] = ()
    """Ids of the tests that fail before the fix and must pass after it."""
    pass_to_pass: tuple[str, ...] = ()
    """Ids of the tests that pass before and must still pass."""
    protected: tuple[str, ...] = ()
    """Glob patterns, relative to the workdir: changes to these paths are dropped before grading, besides those that
    are dropped in every task."""
    unprotected: tuple[str, ...] = ()
    """Glob patterns of what a fix in this task may touch although it is protected in others."""
    tree: str = ""
    """The directory whose change is graded; empty for the image's workdir."""
    ignored: bool = False
    """Whether files that the repository's ``.gitignore`` names belong to the change."""
    reinstall: str = ""
    """Bash commands that build the patched tree anew before the tests, as root of a clone of its own; only what they
    change below the workdir is used."""
    patch: str = ""
    """Hidden changes to the workdir itself (SWE-bench's ``test_patch``), in git's format: applied to the pristine tree,
    and what they touch replaces the agent's."""
    args: tuple[str, ...] = ()
    """Further arguments for the runner."""
    own_settings: bool = False
    """Whether pytest reads the image's own configuration and loads the plugins that are installed there, as it would
    by itself; none of it can come from the agent. Tests may then also make files in the workdir, unless hidden ones lie
    directly in it."""
    excused: tuple[tuple[str, TestStatus], ...] = ()
    """Expected tests with the status, other than ``PASSED``, in which the right fix leaves them."""
    loose_names: bool = False
    """Whether expected ids may be cut, bare names, or first lines of docstrings, as SWE-bench's are."""
    timeout: float = 300.0
    """Seconds for the whole run."""


@dataclass(frozen=True, slots=True)
class Task:
    """One problem to solve in one repository."""

    id: str
    instruction: str
    """What the policy is told, in Markdown."""
    image: str
    """As ``ImageStore.get`` takes it: of a shipped image, a directory with an ``image.toml``, ``swebench:ID`` …"""
    tests: HiddenTests
    limits: Limits = field(default_factory=Limits)
    directory: Path | None = None
    """Where the task was read from, on the host."""
    solution: str | None = None
    """Text of ``solution/solve.sh``: bash commands that solve the task."""
    grade_on_truncation: bool = False
    """Whether an episode that runs out of turns or time is graded as it stands."""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grade:
    """The verdict on one episode, formed outside the sandbox."""

    outcome: Outcome
    reward: float | None
    """What the reward function gave (``grading.rewards``), by default 1.0 or 0.0; None if the infrastructure failed."""
    tests: Mapping[str, TestStatus] = field(default_factory=dict)
    """Status of every expected test."""
    reason: str = ""
    """One sentence: why the outcome is what it is."""
    patch: str = ""
    """The agent's change as graded, in git's format. Bytes that are not UTF-8 are surrogate escapes."""
    dropped: tuple[str, ...] = ()
    """Changed paths that did not count because they are protected."""
    ignored: tuple[str, ...] = ()
    """Changed paths that did not count because the repository's ``.gitignore`` names them."""
    suspicions: tuple[str, ...] = ()
    """What a reader of the patch should look at, a sentence each; they change no reward by themselves."""
    trusted: bool = False
    """Whether the outcome can be relied upon: true of every ``unresolved`` and ``tampered``, and of a ``resolved`` that
    came out of band, past canaries, with no suspicion."""
    output: str = field(default="", compare=False)
    """The tail of what the test run printed."""
    duration: float = field(default=0.0, compare=False)
    """Seconds that grading took."""
    phases: Mapping[str, float] = field(default_factory=dict, compare=False)
    """Seconds by phase; ``tests`` is the run itself."""


@dataclass(frozen=True, slots=True)
class Step:
    """One action and what came of it."""

    action: str
    observation: str
    result: CommandResult | None
    """None where the action ran no command."""
    reward: float
    time: float
    """Seconds from the episode's start to the action."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One whole episode, as it is stored."""

    task_id: str
    image_digest: str
    steps: tuple[Step, ...]
    grade: Grade | None
    failure: str | None = None
    """The kind of infrastructure failure that ended the episode; its reward is then None."""
    error: str = ""
    """One sentence about that failure."""
    reward: float | None = None
    instruction: str = ""
    policy: str = ""
    seed: int | None = None
    started: str = ""
    """UTC, ISO 8601."""
    duration: float = 0.0
    """Seconds."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of what made it: this package, Python, bash's kernel."""
    episode: str = ""
    """The id that a server gave it; empty for a local one."""
