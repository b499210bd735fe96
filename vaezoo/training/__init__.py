"""The loop that trains: one step, schedules, checkpoints."""
