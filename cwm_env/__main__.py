"""``python -m cwm_env`` is ``cwm-env``."""

from cwm_env.cli import main

main()
