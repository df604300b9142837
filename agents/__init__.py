"""One file, one agent, one pure step: no clock, no network, no log. `catalogue` lists them all."""
