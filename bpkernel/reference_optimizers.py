"""The optimizers of the reference, in plain Python: one weight at a time, by the formulas of their papers.

`start()` returns the state of a weight before its first step.  `step(w, g, state, t)` returns the weight w after step
t = 1, 2, ..., in which g is its gradient, and modifies the state.
"""

import math


class SGD:
    """v ← μ v - η g, from the second step on μ v - (1 - dampening) η g;  w ← w - η λ w + v, or with Nesterov's momentum
    w ← w - η λ w + μ v - η g.
    """

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, dampening=0.0, weight_decay=0.0):
        self.eta, self.mu, self.nesterov, self.dampening = learning_rate, momentum, nesterov, dampening
        self.decay = weight_decay

    def start(self):
        return [0.0]

    def step(self, w, g, state, t):
        rate = self.eta if t == 1 else (1.0 - self.dampening) * self.eta
        state[0] = self.mu * state[0] - rate * g
        kept = w - self.eta * self.decay * w
        return kept + (self.mu * state[0] - self.eta * g if self.nesterov else state[0])


class Lion:
    """w ← w - η (sign(β₁ m + (1 - β₁) g) + λ w), then m ← β₂ m + (1 - β₂) g."""

    def __init__(self, learning_rate=1e-4, beta_1=0.9, beta_2=0.99, weight_decay=0.0):
        self.eta, self.beta_1, self.beta_2, self.decay = learning_rate, beta_1, beta_2, weight_decay

    def start(self):
        return [0.0]

    def step(self, w, g, state, t):
        c = self.beta_1 * state[0] + (1.0 - self.beta_1) * g
        sign = (c > 0.0) - (c < 0.0)
        state[0] = self.beta_2 * state[0] + (1.0 - self.beta_2) * g
        return w - self.eta * (sign + self.decay * w)


class Adam:
    """m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;  w ← w - η √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε)."""

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
        self.eta, self.beta_1, self.beta_2, self.epsilon = learning_rate, beta_1, beta_2, epsilon

    def start(self):
        return [0.0, 0.0]

    def means(self, g, state):
        """The running means m and v, of the gradient and of its square."""
        state[0] = self.beta_1 * state[0] + (1.0 - self.beta_1) * g
        state[1] = self.beta_2 * state[1] + (1.0 - self.beta_2) * g * g
        return state

    def step(self, w, g, state, t):
        m, v = self.means(g, state)
        eta_t = self.eta * math.sqrt(1.0 - self.beta_2**t) / (1.0 - self.beta_1**t)
        return w - eta_t * m / (math.sqrt(v) + self.epsilon)


class AdamW(Adam):
    """m and v as in Adam;  w ← w - η λ w - η m̂ / (√v̂ + ε), with m̂ = m / (1 - β₁ᵗ) and v̂ = v / (1 - β₂ᵗ)."""

    def __init__(self, learning_rate=0.001, weight_decay=0.01, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
        super().__init__(learning_rate, beta_1, beta_2, epsilon)
        self.decay = weight_decay

    def step(self, w, g, state, t):
        m, v = self.means(g, state)
        m_hat, v_hat = m / (1.0 - self.beta_1**t), v / (1.0 - self.beta_2**t)
        return w - self.eta * self.decay * w - self.eta * m_hat / (math.sqrt(v_hat) + self.epsilon)


class NAdam(Adam):
    """m and v as in Adam;  w ← w - η λ w - η m̂ / (√v̂ + ε), with μ_t = β₁ (1 - ½ 0.96^(t ψ)), v̂ = v / (1 - β₂ᵗ) and
    m̂ = μ_{t+1} m / (1 - Π_{i≤t+1} μ_i) + (1 - μ_t) g / (1 - Π_{i≤t} μ_i).
    """

    def __init__(self, learning_rate=0.002, beta_1=0.9, beta_2=0.999, epsilon=1e-8, momentum_decay=0.004, weight_decay=0.0):
        super().__init__(learning_rate, beta_1, beta_2, epsilon)
        self.psi, self.decay = momentum_decay, weight_decay

    def mu(self, t):
        return self.beta_1 * (1.0 - 0.5 * 0.96 ** (t * self.psi))

    def step(self, w, g, state, t):
        m, v = self.means(g, state)
        product = math.prod(self.mu(i) for i in range(1, t + 1))
        ahead = self.mu(t + 1) * m / (1.0 - product * self.mu(t + 1))
        m_hat, v_hat = ahead + (1.0 - self.mu(t)) * g / (1.0 - product), v / (1.0 - self.beta_2**t)
        return w - self.eta * self.decay * w - self.eta * m_hat / (math.sqrt(v_hat) + self.epsilon)


class RMSprop:
    """v ← ρ v + (1 - ρ) g²;  b ← μ b + g / (√v + ε);  w ← w - η λ w - η b.  Centered: √(v - the square of the mean of g)."""

    def __init__(self, learning_rate=0.01, rho=0.99, epsilon=1e-8, momentum=0.0, centered=False, weight_decay=0.0):
        self.eta, self.rho, self.epsilon, self.mu = learning_rate, rho, epsilon, momentum
        self.centered, self.decay = centered, weight_decay

    def start(self):
        return [0.0, 0.0, 0.0]

    def step(self, w, g, state, t):
        v, b, mean = state
        v, mean = self.rho * v + (1.0 - self.rho) * g * g, self.rho * mean + (1.0 - self.rho) * g
        variance = max(v - mean * mean, 0.0) if self.centered else v
        b = self.mu * b + g / (math.sqrt(variance) + self.epsilon)
        state[:] = v, b, mean
        return w - self.eta * self.decay * w - self.eta * b


class Adagrad:
    """v ← v + g²;  η_t = η / (1 + (t - 1) rate_decay);  w ← w - η_t λ w - η_t g / (√v + ε)."""

    def __init__(self, learning_rate=0.01, rate_decay=0.0, initial=0.0, epsilon=1e-10, weight_decay=0.0):
        self.eta, self.rate_decay, self.initial, self.epsilon = learning_rate, rate_decay, initial, epsilon
        self.decay = weight_decay

    def start(self):
        return [self.initial]

    def step(self, w, g, state, t):
        state[0] += g * g
        eta_t = self.eta / (1.0 + (t - 1) * self.rate_decay)
        return w - eta_t * self.decay * w - eta_t * g / (math.sqrt(state[0]) + self.epsilon)
