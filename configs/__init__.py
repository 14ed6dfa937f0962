"""One configuration per variant of GAN; `base` holds and explains every field."""
