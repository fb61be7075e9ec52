"""How training would scale on many machines: a model of a step's time, calibrated on one process and on two."""
