"""Ring 0: what bytes mean.  Pure: no trio, clock, files, randomness, logging or sockets."""
