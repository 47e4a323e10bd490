"""Where a model can run: one row per execution provider, and sessions that never fall back silently."""
