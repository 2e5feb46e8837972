"""Settings of EDG that train in seconds, and in less."""

SMALL = {"batch_size": 64, "width": 32, "score_width": 32, "score_layers": 2, "n_leapfrog": 2}
#: Trained at the temperature of the target.
COLD = {"beta_end": 1.0, "n_cooling": 0}
FEW = SMALL | {"batch_size": 8, "width": 8, "score_width": 8, "n_layers": 1, "n_final_steps": 4, "n_pool": 64}
