"""Settings of DiKL that train in seconds, and in less."""

SMALL = {"batch_size": 128, "width": 32, "score_width": 32, "encoder_width": 32, "n_score_steps": 2}
_EIGHT = dict.fromkeys(("batch_size", "width", "score_width", "path_width", "encoder_width"), 8)
FEW = SMALL | _EIGHT | {"n_final_steps": 4, "n_pool": 32}
