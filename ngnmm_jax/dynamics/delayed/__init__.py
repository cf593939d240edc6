"""Systems with one delay: runs, periodic orbits, and what becomes of their perturbations."""
