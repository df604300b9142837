"""What survives a restart: the rows of the tables and their codecs."""
