"""What a homogeneous state is, as a number."""

NOTHING, EQUILIBRIUM, ORBIT, APERIODIC = 0, 1, 2, 3

#: Their names, by number.
KINDS = ("nothing", "equilibrium", "orbit", "aperiodic")
