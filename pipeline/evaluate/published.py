"""What others reached on the SPCC, protocol by protocol, so that a result never stands alone.

All numbers are on the post-challenge release (Kessler et al. 2010, arXiv:1001.5210, arXiv:1008.1024), as published.
Their "F1" is our figure of merit (completeness × pseudo-purity, W = 3), not the harmonic mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["PROTOCOLS", "PUBLISHED", "Protocol", "PublishedResult", "published_for"]


@dataclass(frozen=True)
class Protocol:
    """What a classifier is asked, and what it may learn from.

    Attributes:
        id: short name, "P1".
        task: what is told apart, and from how much of each light curve.
        training: which objects are learnt from; all others are tested on.
        classes: number of classes.
    """

    id: str
    task: str
    training: str
    classes: int = 2


@dataclass(frozen=True)
class PublishedResult:
    """One published row; None where the source gives no number.

    Attributes:
        protocol: id of a Protocol.
        uses_redshift: whether the host's photometric redshift was an input.
        who: authors, year and method.
        arxiv: identifier of the source.
        accuracy: share of the most probable class being right, 0 to 1.
        auc: area under the ROC curve; of three classes the mean of one-versus-rest.
        figure_of_merit: completeness × pseudo-purity at p > 0.5.
        accuracy_std: over the authors' training draws.
        note: what a reader must know before comparing.
    """

    protocol: str
    uses_redshift: bool
    who: str
    arxiv: str
    accuracy: float | None = None
    auc: float | None = None
    figure_of_merit: float | None = None
    accuracy_std: float | None = None
    note: str = ""


HALF: Final = "50 % (10,660), representative"
QUARTER: Final = "25 % (5,330), representative"
FEW: Final = "1,103, representative"
IA: Final = "Ia or not, whole light curve"
TYPES: Final = "Ia, II or Ibc, whole light curve"
EARLY_IA: Final = "Ia or not, up to the sixth detection"
EARLY_TYPES: Final = "Ia, II or Ibc, up to the sixth detection"

PROTOCOLS: Final = {
    protocol.id: protocol
    for protocol in (
        Protocol("P1", IA, HALF),
        Protocol("P2", IA + ", no redshift", HALF),
        Protocol("P3", IA, QUARTER),
        Protocol("P4", IA, FEW),
        Protocol("P5", IA + ", no redshift", FEW),
        Protocol("P6", IA, "the 1,103 with a spectrum, not representative"),
        Protocol("P7", IA, "the 1,103 with a spectrum and 50, 100 or 200 random others"),
        Protocol("P8", TYPES, HALF, 3),
        Protocol("P9", TYPES, FEW, 3),
        Protocol("P10", EARLY_IA, HALF),
        Protocol("P11", EARLY_IA, FEW),
        Protocol("P12", EARLY_TYPES, HALF, 3),
    )
}

CHARNOCK17: Final = ("Charnock & Moss 2017, LSTM", "1606.07442")
CHARNOCK17_BOTH: Final = ("Charnock & Moss 2017, bidirectional LSTM", "1606.07442")
MOSS18: Final = ("Moss 2018, Phased LSTM", "1810.06441")
LOCHNER16: Final = ("Lochner et al. 2016, SALT2 and boosted trees", "1603.00882")
STACCATO: Final = ("Revsbech et al. 2018, STACCATO", "1706.03811")
RICHARDS12: Final = ("Richards et al. 2012, diffusion map and random forest", "1103.6034")

PUBLISHED: Final = (
    PublishedResult("P1", True, *MOSS18, 0.966, 0.995, 0.757, 0.001),
    PublishedResult("P1", True, *CHARNOCK17, 0.947, 0.986, 0.64, 0.002),
    PublishedResult("P2", False, *MOSS18, 0.953, 0.992, 0.674, 0.002),
    PublishedResult("P2", False, *CHARNOCK17, 0.936, 0.981, 0.60),
    PublishedResult("P3", True, *CHARNOCK17, 0.929, 0.975, 0.57),
    PublishedResult("P3", False, *CHARNOCK17, 0.923, 0.973, 0.55),
    PublishedResult("P4", True, *MOSS18, 0.932, 0.980, 0.571, 0.001),
    PublishedResult("P4", True, *LOCHNER16, auc=0.984),
    PublishedResult("P4", True, *CHARNOCK17, 0.859, 0.910, 0.31),
    PublishedResult("P5", False, *MOSS18, 0.919, 0.976, 0.514),
    PublishedResult("P6", True, *STACCATO, auc=0.96, note="augments with the unlabelled test light curves"),
    PublishedResult("P6", True, *RICHARDS12, figure_of_merit=0.25),
    PublishedResult("P6", True, *MOSS18, auc=0.60, figure_of_merit=0.146),
    PublishedResult("P7", True, *MOSS18, auc=0.927, figure_of_merit=0.349, note="50 random others"),
    PublishedResult("P7", True, *MOSS18, auc=0.955, figure_of_merit=0.436, note="100 random others"),
    PublishedResult("P7", True, *MOSS18, auc=0.962, figure_of_merit=0.484, note="200 random others"),
    PublishedResult("P8", True, *CHARNOCK17_BOTH, 0.904, 0.974),
    PublishedResult("P8", False, *CHARNOCK17_BOTH, 0.885, 0.959),
    PublishedResult("P9", True, *CHARNOCK17_BOTH, 0.781, 0.868),
    PublishedResult("P9", False, *CHARNOCK17_BOTH, 0.780, 0.865),
    PublishedResult("P10", True, *CHARNOCK17, 0.931, 0.977, 0.58),
    PublishedResult("P10", False, *CHARNOCK17, 0.920, 0.970, 0.53),
    PublishedResult("P11", True, *CHARNOCK17, 0.852, 0.902, 0.29),
    PublishedResult("P11", False, *CHARNOCK17, 0.816, 0.860, 0.21),
    PublishedResult("P12", True, *CHARNOCK17_BOTH, 0.879, 0.960),
    PublishedResult("P12", False, *CHARNOCK17_BOTH, 0.868, 0.948),
)
"""Best first within a protocol, with redshift before without."""


def published_for(protocol: str) -> tuple[PublishedResult, ...]:
    """Return the published rows of a protocol, none where nobody published.

    >>> [row.accuracy for row in published_for("P3")]
    [0.929, 0.923]
    """
    return tuple(row for row in PUBLISHED if row.protocol == protocol)
