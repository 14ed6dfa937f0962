"""Building blocks of networks: convolutions, normalization, resampling."""
