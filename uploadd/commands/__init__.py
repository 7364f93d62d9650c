"""The commands of whoever runs the daemon; those of its users are in ``client``."""
