"""Images of SWE-bench's instances, built without a registry: one commit, in the environment that its record names."""
