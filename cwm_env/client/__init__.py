"""Episodes on a server, driven from here."""

from cwm_env.client.remote import RemoteEnv
from cwm_env.client.vector import RemoteVectorEnv

__all__ = ["RemoteEnv", "RemoteVectorEnv"]
