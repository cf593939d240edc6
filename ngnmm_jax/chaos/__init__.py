"""Lyapunov exponents and orbit diagrams over parameters."""
