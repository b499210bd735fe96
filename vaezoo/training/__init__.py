"""Training: the step, the loop over epochs, schedules, packs of seeds."""
