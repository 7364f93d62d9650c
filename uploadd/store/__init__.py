"""Ring 1: where bytes live."""
