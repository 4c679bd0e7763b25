# %% [markdown]
# # `partial_fit` with several labels
#
# scikit-learn issue [12505](https://github.com/scikit-learn/scikit-learn/issues/12505).

# %%
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

from bpkernel import MLPClassifier

X, Y = make_multilabel_classification(2000, n_features=20, n_classes=5, random_state=0)
X_train, X_test, Y_train, Y_test = train_test_split(X / X.max(), Y, random_state=0)
net = MLPClassifier((50,), learning_rate_init=0.01, random_state=0)
f1 = []
for _epoch in range(10):
    for start in range(0, len(X_train), 500):
        net.partial_fit(X_train[start : start + 500], Y_train[start : start + 500])
    f1.append(float(f1_score(Y_test, net.predict(X_test), average="micro")))
print(f"{net.predict(X_test).shape[1]} labels; F1 {f1[0]:.2f} after one epoch, {f1[-1]:.2f} after ten")
