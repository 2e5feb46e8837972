"""What is sampled: the Target interface, OpenMM Systems as targets, and analytic benchmark densities."""
