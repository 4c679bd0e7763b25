# %% [markdown]
# # An activation for each layer
#
# scikit-learn issue [10097](https://github.com/scikit-learn/scikit-learn/issues/10097).

# %%
import warnings

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from bpkernel import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
settings = {"max_iter": 60, "tol": 0, "learning_rate_init": 0.003, "random_state": 0}
net = MLPClassifier((50, 30, 20), activation=["relu", "gelu", "tanh"], **settings)
accuracy = net.fit(X_train, y_train).score(X_test, y_test)
print(f"{net.to_mlp()}\ntest accuracy {accuracy:.3f}")
