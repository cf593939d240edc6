"""Growth of perturbations: dispersion, maps of it, responses."""
