"""Names that parameters go by, in a module that imports nothing."""

#: What names of a stimulus's parameters begin with.
STIMULUS = "stimulus_"
