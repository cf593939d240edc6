"""`python -m ngnmm_jax.cli`: the same as `ngnmm`."""

from ngnmm_jax.cli import main

main()
