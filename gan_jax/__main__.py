"""``python -m gan_jax COMMAND``, which is ``gan-jax COMMAND``."""

from gan_jax import console

if __name__ == "__main__":
    console.main()
