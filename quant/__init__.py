"""The mathematics: arrays in, numbers out. If it has an equation it is here; if it has a topic it is not."""
