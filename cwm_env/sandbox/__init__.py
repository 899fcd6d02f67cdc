"""An isolated place that runs processes: the protocol, the backends, and what keeps the machine clean."""

from __future__ import annotations

from cwm_env.sandbox.leases import Pruned, prune

__all__ = ["Pruned", "prune"]
