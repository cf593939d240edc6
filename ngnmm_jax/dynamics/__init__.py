"""Numerical methods for any vector field; nothing here knows a model."""
