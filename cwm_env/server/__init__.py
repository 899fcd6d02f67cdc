"""Episodes over HTTP: thousands on one event loop, none lost to a dropped connection, no command run twice."""

from cwm_env.server.app import create_app
from cwm_env.server.settings import Settings

__all__ = ["Settings", "create_app"]
