"""uploadd: an upload daemon whose acknowledgement means durable."""

__version__ = "0.1.0"
