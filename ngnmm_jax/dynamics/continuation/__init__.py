"""Curves of equilibria, of cycles and of their bifurcations, for any vector field."""
