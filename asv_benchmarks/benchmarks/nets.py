"""The nets whose training is timed, by the suite and beside the peers: one table for both.

A row is (layer sizes, samples in a mini-batch, dtype, kind of problem, hidden activation).  The kind "classes" is a
softmax under cross-entropy, "numbers" the identity under squared error; the optimizer is Adam.
"""

NETS = [
    ((2, 8, 1), 1, "float32", "numbers", "relu"),
    ((4, 16, 3), 32, "float32", "classes", "relu"),
    ((64, 100, 10), 200, "float32", "classes", "relu"),
    ((64, 100, 10), 200, "float64", "classes", "relu"),
    ((30, 64, 64, 1), 128, "float32", "numbers", "relu"),
    ((784, 128, 10), 128, "float32", "classes", "relu"),
    ((784, 512, 512, 10), 256, "float32", "classes", "relu"),
    ((1024, 1024, 1024, 1024), 512, "float32", "numbers", "relu"),
    ((512, 512, 512, 512), 256, "float64", "numbers", "relu"),
    ((64, 100, 10), 200, "float32", "classes", "tanh"),
    ((784, 512, 512, 10), 256, "float32", "classes", "tanh"),
]
