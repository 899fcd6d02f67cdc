"""OpenEnv's server with an environment that echoes; run by the Python of an environment that has ``openenv``.

python openenv_echo.py PORT
"""

import sys

import uvicorn
from openenv.core.env_server.http_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State


class EchoAction(Action):
    """A text."""

    command: str


class EchoObservation(Observation):
    """The same text."""

    text: str


class Echo(Environment):
    """Answers with what it is told."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        super().__init__()
        self._state = State()

    def reset(self, seed=None, episode_id=None, **kwargs):
        """Begin."""
        self._state = State(episode_id=episode_id)
        return EchoObservation(text="")

    def step(self, action, timeout_s=None, **kwargs):
        """Echo."""
        self._state.step_count += 1
        return EchoObservation(text=action.command, reward=0.0)

    @property
    def state(self):
        """Count of steps."""
        return self._state


if __name__ == "__main__":
    app = create_fastapi_app(Echo, EchoAction, EchoObservation, max_concurrent_envs=4096)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
