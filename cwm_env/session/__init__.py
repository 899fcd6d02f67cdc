"""One persistent bash per episode."""

from cwm_env.session.blocking import BashSession

__all__ = ["BashSession"]
