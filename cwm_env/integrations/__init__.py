"""Ways for other tools to use our sandboxes; each module needs that tool, and nothing here imports it."""
