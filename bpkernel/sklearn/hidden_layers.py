"""What the estimators show of their nets: outputs of hidden layers, and derivatives by the inputs."""

from typing import Any

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from bpkernel import derivatives
from bpkernel.network import Network
from bpkernel.runtime.threads import limited
from bpkernel.sklearn.base import OnKernels
from bpkernel.sklearn.coefficients import load_arrays, outputs, samples

ROWS = 4096  # of X at once through a net that is no chain


class HiddenLayers(TransformerMixin, OnKernels):
    """Outputs of hidden layers as features for others, and derivatives."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = not (self.input_dropout or self.input_noise)
        return tags

    def transform(self, X: Any, layer: int = -2) -> np.ndarray:
        """The outputs z of a layer of the net.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        layer : int, default=-2
            1 for the first hidden layer, ...; negative numbers count from the end: -1 is the output layer, -2 the last hidden
            one, whose units `set_output` and `get_feature_names_out` name.

        Returns
        -------
        z : ndarray of shape (n_samples, n_units)

        Raises
        ------
        ValueError, TypeError
            If there is no such layer.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from bpkernel import MLPClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> MLPClassifier((20, 3), random_state=0, early_stopping=True).fit(X, y).transform(X).shape
        (150, 3)
        """
        check_is_fitted(self)
        n_layers = self.n_layers_
        if isinstance(layer, bool) or not isinstance(layer, (int, np.integer)):
            raise TypeError(f"layer must be an integer; got {layer!r}")
        place = int(layer + n_layers if layer < 0 else layer)
        if not 1 <= place < n_layers:
            raise ValueError(f"layer must be from 1 to {n_layers - 1}, or from -{n_layers - 1} to -1; got {layer}")
        with limited(self.n_jobs):
            return self._outputs_of(place, X)

    def _outputs_of(self, place: int, X: Any) -> np.ndarray:
        """The outputs of the layer of this number."""
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=[np.float64, np.float32], reset=False)
        network = self._network_for(X)
        layout = network.layout
        if self._topology is None:
            sizes, activations = layout.sizes[: place + 1], layout.activations[:place]
            part = Network(sizes, activations, network.loss, layout.dtype)
            load_arrays(part, self.coefs_[:place], self.intercepts_[:place])
            return outputs(part, X)
        found = []
        for start in range(0, X.shape[0], ROWS):
            block = X[start : start + ROWS]
            given = samples(block, np.ones((block.shape[0], layout.sizes[-1])), None, network)  # targets are not needed
            found.append(derivatives.backprop(network, given, block).z[place])
        return np.concatenate(found)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The names of the columns of `transform`: the name of the class in lower case, and a number."""
        check_is_fitted(self)
        n_units = len(self.intercepts_[-2]) if self.n_layers_ > 2 else 0
        return np.array([f"{type(self).__name__.lower()}{i}" for i in range(n_units)], dtype=object)

    def input_gradient(self, X: Any, y: Any) -> np.ndarray:
        """∂E^n/∂x_i (n_samples, n_features) of the loss of each sample; see ``bp.MLP.input_gradient``."""
        return self.to_mlp().input_gradient(self._dense(X), self._targets_of_mlp(y))

    def jacobian(self, X: Any) -> np.ndarray:
        """∂y_k/∂x_i (n_samples, n_outputs, n_features) of the outputs; see ``bp.MLP.jacobian``."""
        return self.to_mlp().jacobian(self._dense(X))

    def _dense(self, X: Any) -> np.ndarray:
        """Inputs as scikit-learn checks them, dense."""
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return X.toarray() if hasattr(X, "toarray") else X
