"""The records of nodes and edges, as the kernels read them; see `layout`."""

import numpy as np

NODE = np.dtype(
    [
        ("n_units", np.int64),
        ("offset", np.int64),  # of its units in a buffer of units, for each sample of a mini-batch
        ("row", np.int64),  # numbers in a row of its units
        ("forward", np.int64),  # pointer to its activation
        ("vjp", np.int64),  # pointer to the vector-Jacobian product of its activation
        ("keep_a", np.int64),  # 1 if its activation needs a for that
        ("own_edge", np.int64),  # the edge that holds its gains and shifts; -1 if it is not normalised
        ("dropout", np.float64),  # share of its units that are set to 0 in training
        ("noise", np.float64),  # standard deviation of what is added to the inputs in training
        ("z_tiles", np.int64),  # offset of its packed z in a buffer of packed units, for each sample; -1 if there are none
        ("delta_panels", np.int64),  # of its packed δ
        ("first_in", np.int64),  # its incoming edges are those from first_in up to end_in
        ("end_in", np.int64),
        ("first_out", np.int64),  # its outgoing edges are out_edges[first_out:end_out]
        ("end_out", np.int64),
    ],
    align=True,
)
EDGE = np.dtype(
    [
        ("source", np.int64),
        ("target", np.int64),
        ("n_in", np.int64),
        ("n_out", np.int64),
        ("bias", np.int64),  # 1 if row 0 of its weights holds biases
        ("weights", np.int64),  # offset of its rows in the buffer of the weights
        ("row", np.int64),  # numbers in a row of its weights
        ("wide", np.int64),  # 1 if its transposed weights, and maybe the other operands of its sums, are packed in panels
        ("packed", np.int64),  # offset of its weights, packed in panels, in the buffer of the packed weights; -1 for none
        ("transposed", np.int64),  # of its transposed weights; -1 for none
        ("packed_row", np.int64),  # numbers in a row of the transposed weights, unless they are in panels
        ("first_present", np.int64),  # its present weights in the lists of the net; 0 if it is computed in tiles
        ("end_present", np.int64),
    ],
    align=True,
)
