"""Sets of traces: inputs found, repositories' tests cut into episodes, records on disk, tellings in plain words."""
