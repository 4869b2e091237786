"""Shared by networks that process one person at a time: everything around a person's features.

Axes: N clips, C channels, T frames (T' after strides), V joints, M person slots, P people that are there, D features, K
classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from .persons import PersonNorm, mean_over_persons, processes, who_is_there


class PeopleNetwork(nn.Module):
    """Features of every person -> means over frames, joints and a clip's people -> linear classifier.

    A network is a subclass with ``encode_people``, and with the modules named here.
    """

    norm: PersonNorm
    feature_dim: int
    dropout: nn.Module
    classifier: nn.Linear

    def encode_people(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """(N, C, T, V, M), mask (N, M) or None for all -> (P, D, T', V), each person by itself; P may be 0."""
        raise NotImplementedError

    def idle(self, people: Tensor) -> bool:
        """Whether there is nothing to compute. With several processes an empty part is computed too, because the
        others wait for its part of every batch norm and every gradient."""
        return not len(people) and not (self.training and processes() > 1)

    def forward_features(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Input of the classifier.

        Args:
            x: (N, C, T, V, M) float.
            valid: (N, M) bool, which people are there; None: all, as the released networks have it.

        Returns:
            (N, D) mean over frames, joints and valid people; zeros for a clip without people.
        """
        valid = who_is_there(valid)
        people = self.encode_people(x, valid)  # (P, D, T', V)
        if self.idle(people):
            return x.new_zeros(len(x), self.feature_dim)
        return mean_over_persons(people.mean((2, 3)), valid, len(x))

    def forward_joints(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """As :meth:`forward_features` before the mean over joints: (N, V, D)."""
        valid = who_is_there(valid)
        people = self.encode_people(x, valid)  # (P, D, T', V)
        if self.idle(people):
            return x.new_zeros(len(x), self.norm.sizes[1], self.feature_dim)
        joints = people.mean(2).transpose(1, 2).flatten(1)  # (P, D, V) -> (P, V, D) -> (P, V D)
        return mean_over_persons(joints, valid, len(x)).view(len(x), -1, self.feature_dim)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(N, C, T, V, M), mask (N, M) or None -> logits (N, K)."""
        logits: Tensor = self.classifier(self.dropout(self.forward_features(x, valid)))
        return logits


class PersonClassifier(PeopleNetwork):
    """Input norm -> ``encode`` of every valid person, and what :class:`PeopleNetwork` does with it.

    A network is a subclass with ``encode`` (and ``embed``, where it maps channels before the norm).

    Args:
        norm_channels: channels that the norm sees, where ``embed`` changes them.
        dropout: probability before the classifier.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        num_persons: int,
        num_joints: int,
        feature_dim: int,
        norm_channels: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.sizes = (in_channels, num_joints, num_persons)
        self.norm = PersonNorm(num_persons, num_joints, in_channels if norm_channels is None else norm_channels)
        self.feature_dim = feature_dim
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(feature_dim, num_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(N, C, T, V, M) -> (N, C', T, V, M), each position by itself; here nothing."""
        return x

    def encode(self, people: Tensor) -> Tensor:
        """(P, C, T, V) normalised, P at least 1 -> (P, D, T', V), each person by itself."""
        raise NotImplementedError

    def encode_people(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """(N, C, T, V, M), mask (N, M) or None for all -> (P, D, T', V)."""
        channels, joints, persons = self.sizes
        if x.ndim != 5 or (x.shape[1], x.shape[3], x.shape[4]) != self.sizes:
            raise ValueError(f"input is {tuple(x.shape)}, expected (N, {channels}, T, {joints}, {persons})")
        people = self.norm(self.embed(x), valid).contiguous()  # (P, C, T, V)
        if self.idle(people):
            return people.new_zeros(0, self.feature_dim, 1, joints)
        return self.encode(people)


def initialise(model: nn.Module, classifier_sd: float | None = None) -> None:
    """He initialisation of the convolutions and a normal one of the classifier, by default with sd sqrt(2 / K) as in
    CTR-GCN and its heirs."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    classifier = model.classifier
    if isinstance(classifier, nn.Linear):
        sd = (2.0 / classifier.out_features) ** 0.5 if classifier_sd is None else classifier_sd
        nn.init.normal_(classifier.weight, 0, sd)
        nn.init.zeros_(classifier.bias)
