"""How early a collapse is found in a training that takes a day, simulated."""
