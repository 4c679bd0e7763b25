# %% [markdown]
# # Outputs of hidden layers
#
# scikit-learn issue [8291](https://github.com/scikit-learn/scikit-learn/issues/8291): the activations of hidden layers.
#
# `transform` gives them, so that a net can be a step of a pipeline: here its last hidden layer feeds a k-nearest-neighbours
# classifier, and a layer of two units draws a map of the digits.

# %%
import warnings

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from bpkernel import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
net = MLPClassifier((50, 20), max_iter=60, tol=0, learning_rate_init=0.003, random_state=0)
pipeline = make_pipeline(net, KNeighborsClassifier(5)).fit(X_train, y_train)
accuracy = pipeline.score(X_test, y_test)
print(f"nearest neighbours on {net.transform(X_test).shape[1]} hidden units: test accuracy {accuracy:.3f}")
print("layer 1:", net.transform(X_test, layer=1).shape, "layer 2:", net.transform(X_test, layer=2).shape)

# %%
narrow = MLPClassifier((50, 2), activation=["relu", "identity"], max_iter=150, tol=0, learning_rate_init=0.01, random_state=0)
places = narrow.fit(X_train, y_train).transform(X_test)
fig, ax = plt.subplots()
points = ax.scatter(*places.T, c=y_test, cmap="tab10", vmin=-0.5, vmax=9.5, s=8)
fig.colorbar(points, label="digit", ticks=range(10))
ax.set(xlabel="output of hidden unit 1", ylabel="output of hidden unit 2")
plt.show()
