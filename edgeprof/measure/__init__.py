"""Latency and memory: a parent that schedules visits, and workers that measure, each in a process of its own."""
