"""The shared reparameterised-Gaussian core. It needs torch only, and knows no plugin names, files or data sets."""
