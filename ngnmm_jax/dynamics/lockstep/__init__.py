"""Attractors of many systems at once: runs in lock-step, along the last axis of the state.

Where `orbits` takes one system and refines its orbit until its residual no longer falls, this
takes hundreds that share a vector field, with steps of order four and five, for maps over
parameters: a step of all of them is a few elementwise operations. Shapes are (variable, run), and
(variable, tangent, run) for perturbations.
"""
