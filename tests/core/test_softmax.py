"""Softmax and its relatives are scipy's."""

import numpy as np
import pytest
import scipy.special

from hpnet.core.softmax import log_softmax, log_sum_exp, sigmoid, softmax


@pytest.mark.parametrize("spread", [1.0, 30.0, 800.0])
def test_they_are_scipys(spread: float) -> None:
    values = np.random.default_rng(0).normal(0, spread, (50, 12))
    np.testing.assert_array_equal(softmax(values), scipy.special.softmax(values, axis=1))
    np.testing.assert_array_equal(log_softmax(values), scipy.special.log_softmax(values, axis=1))
    np.testing.assert_allclose(log_sum_exp(values), scipy.special.logsumexp(values, axis=1), rtol=1e-12)
    np.testing.assert_allclose(sigmoid(values), scipy.special.expit(values), rtol=1e-12, atol=1e-300)
