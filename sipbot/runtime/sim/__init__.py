"""``sipbot sim``: the lines of the simulator, and the player that walks a scenario over them."""
