"""The benchmark ``tinygraph bench``: training steps of tinygraph and of its peers, side by side."""
