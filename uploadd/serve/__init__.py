"""Ring 4: conversations.  Who waits for whom; what the bytes mean stands in ``protocol``."""
