"""What the networks that see one person at a time have in common: everything around their ``encode``."""

from __future__ import annotations

from torch import Tensor, nn

from .persons import PersonNorm, mean_over_persons, who_is_there


class PersonClassifier(nn.Module):
    """Input norm -> ``encode`` of every valid person -> mean over a clip's people -> linear classifier.

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
        """(P, C, T, V) normalised -> (P, D), each person by itself."""
        raise NotImplementedError

    def forward_features(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(N, C, T, V, M), mask (N, M) or None for all -> (N, D), zeros for a clip of nobody."""
        channels, joints, persons = self.sizes
        if x.ndim != 5 or (x.shape[1], x.shape[3], x.shape[4]) != self.sizes:
            raise ValueError(f"input is {tuple(x.shape)}, expected (N, {channels}, T, {joints}, {persons})")
        valid = who_is_there(valid)
        people = self.norm(self.embed(x), valid).contiguous()  # (P, C, T, V)
        if not len(people):
            return x.new_zeros(len(x), self.feature_dim)
        return mean_over_persons(self.encode(people), valid, len(x))

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(N, C, T, V, M), mask (N, M) or None -> logits (N, K)."""
        logits: Tensor = self.classifier(self.dropout(self.forward_features(x, valid)))
        return logits


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
