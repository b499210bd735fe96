"""The shared reparameterised-Gaussian core: torch only; no names, no files, no data. Import its modules one by one."""
