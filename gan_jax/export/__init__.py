"""Networks of a trained run as files for other programs, and the model card beside them."""
