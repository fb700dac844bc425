"""DDSP-SVC and Diffusion-SVC: yxlllc's class with zeros after the log-mel.

Sources: https://github.com/yxlllc/DDSP-SVC (`encoder/rmvpe`, called in `ddsp/vocoder.py`),
https://github.com/CNChTu/Diffusion-SVC (called in `tools/tools.py`). What these do with the f0, filling gaps and
lifting it to a least f0, stays in their `F0_Extractor`, which edits the answer in place.
"""

from rmvpe.hosts.core import Family
from rmvpe.hosts.yxlllc import RMVPE as YxlllcRMVPE

FAMILY = Family(threshold=0.03, pad="zero")


class RMVPE(YxlllcRMVPE):
    """The class of these projects: `rmvpe.hosts.yxlllc.RMVPE`, which with our weights answers the same."""

    FAMILY = FAMILY
