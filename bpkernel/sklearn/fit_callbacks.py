"""Callbacks in the fit of an estimator: those of users, and scikit-learn's own."""

from typing import Any

from bpkernel.callback import Callback, Run, as_callback


def users_callbacks(estimator: Any) -> list[Callback]:
    """The `callbacks` of an estimator; raises TypeError if one is none."""
    return [as_callback(each, "Callback objects of bpkernel") for each in estimator.callbacks or ()]


class ScikitLearnCallbacks(Callback):
    """Calls scikit-learn's callbacks, those of `set_callbacks`, before and after each epoch.

    data: X, y and metadata as `fit` has received them.
    """

    def __init__(self, estimator: Any, data: dict[str, Any]):
        self._estimator, self._data = estimator, data
        self._context: Any = None

    def begin(self, run: Run) -> None:
        self._next()

    def _next(self) -> None:
        own = self._estimator
        self._context = own._callback_fit_ctx.subcontext(task_name="epoch")
        self._context.call_on_fit_task_begin(estimator=own, **self._data, reconstruction_attributes=self._attributes)

    def _attributes(self) -> dict[str, Any]:
        """What an estimator is made of that is as this one is now."""
        own = self._estimator
        names = [name for name in ("coefs_", "intercepts_", "gains_", "shifts_") if name in own.__dict__]
        return {name: [array.copy() for array in getattr(own, name)] for name in names}

    def epoch(self, run: Run) -> None:
        context, self._context = self._context, None
        own = {"estimator": self._estimator, **self._data, "reconstruction_attributes": self._attributes}
        if context.call_on_fit_task_end(**own):
            run.stop()
        if run.goes_on:
            self._next()

    def end(self, run: Run, *, failed: bool) -> None:
        if self._context is not None:
            self._context.call_on_fit_task_end(estimator=self._estimator)
