"""Running a training step without its Python: recordings on a CPU, CUDA graphs, noise drawn before the steps."""
