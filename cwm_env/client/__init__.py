"""Episodes on a server, driven from here."""

from cwm_env.client.remote import RemoteEnv

__all__ = ["RemoteEnv"]
