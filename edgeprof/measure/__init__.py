"""The clock and the scales: a parent that plans and spawns, a child that measures."""
