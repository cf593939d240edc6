"""One script per claim; each prints ratios measured in one run."""
