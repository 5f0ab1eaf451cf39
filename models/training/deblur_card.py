"""The card of trained weights: what they are, how they were made, how good they are."""

from pathlib import Path

import torch
import yaml

from configs.base import Section
from configs.losses import Loss
from configs.train_deblurrer import DeblurrerTraining, PictureGroup, SharpPictures
from models.cards import sha256
from models.encoders import IMAGENET
from models.fingerprint import Fingerprint
from models.networks import parameter_count
from models.restorer import Restorer

_ORIGINS = {
    "deblurgan_v2": "The feature pyramid of DeblurGAN-v2 (Kupyn et al. 2019, arXiv 1908.03826)",
    "deblurgan_v1": "The residual network of DeblurGAN (Kupyn et al. 2018, arXiv 1711.07064)",
    "unet": "A compact residual U-Net without norm layers",
}


def write_card(
    config: DeblurrerTraining,
    weights: Path,
    generator: Restorer,
    *,
    halo: int | None,
    numbers: dict[str, float],
    fingerprint: Fingerprint,
) -> None:
    """Write `<name>.md` beside the weights."""
    facts = {
        "name": config.name,
        "task": "deblurring",
        "architecture": f"{generator.architecture} {config.network.variant}",
        "licence": config.licence,
        "file": weights.name,
        "sha256": sha256(weights),
        "size_bytes": weights.stat().st_size,
        "parameters": parameter_count(generator),
        "halo_px": halo,
        "data": list(config.attribution),
        "numbers": numbers,
    }
    front = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=100)
    mark = yaml.safe_dump(
        {"fingerprint": fingerprint.to_dict()}, sort_keys=False, default_flow_style=None, width=100
    )
    text = f"---\n{front}{mark}---\n\n{_prose(config, generator)}"
    weights.with_suffix(".md").write_text(text, encoding="utf-8")


def _prose(config: DeblurrerTraining, generator: Restorer) -> str:
    tests = ", ".join(_glob(group) for group in config.test or config.validation)
    return f"""# {config.name}

Restores motion-blurred aerial and street-level RGB pictures: uint8 in, uint8 out.
{_ORIGINS.get(generator.architecture, generator.architecture)}, variant `{config.network.variant}`.
{_verdict(config.loss)}

## Recipe

`aerial-deblur train` with seed {config.seed}: {config.steps} steps of {config.batch} patches of
{config.patch} px, AdamW ({config.learning_rate}, betas {list(config.betas)}, weight decay
{config.weight_decay}), {_schedule(config)}, averaged weights ({config.ema_decay}), float16 file.
PyTorch {torch.__version__}. {_parents(config)}
Normalisation when it restores: `{config.normalisation}`.

Loss, the weighted sum of these parts:

{_indented(config.loss)}
Network:

{_indented(config.network)}
Blur model (lengths in px; motion and noise in linear light, then JPEG):

{_indented(config.blur)}
## Numbers

`gain_Npx_db` is the mean gain in PSNR over pictures blurred by a linear motion of N px at four
angles plus slight sensor noise (0.002 at 18 % grey), on the middle 512 px of pictures of places
that training never saw: {tests}. `gain_7_to_15px_db` is the mean of 7, 11 and
15 px; `sharp_psnr_db` compares sharp pictures with what the network makes of them;
`gain_pairs_db` and `psnr_pairs_db`, where given, are those of really blurred pictures. `halo_px` is
the margin at which a tile differs from the whole picture by at most half a grey level (null where
no margin that fits into the pictures is enough); `cpu_seconds_per_mpix` is processor time on one
thread.

The blur is synthetic unless the data are pairs: on real blur expect less. Motion beyond that of the
blur model, and rotation, are beyond this network.

## Fingerprint

`fingerprint` in the front matter is the answer to a small chart, measured by `aerial-deblur probe`:
means of blocks of 16 px, in grey levels. It is compared whenever these weights are loaded in the
normalisation it names, and weights that answer otherwise do not load. Its `numbers` come from
larger charts (docs/metrics.md): edges, ramps, flat colours. They are not what a picture gains.

## Data

The pictures are not part of this project; owners are named above. Licence of the weights:
{config.licence}.
"""


def _glob(group: PictureGroup) -> str:
    return group.pattern if isinstance(group, SharpPictures) else group.pairs.blurred


def _verdict(loss: Loss) -> str:
    if loss.adversarial is None:
        return "Trained without a critic: nothing rewards it for inventing texture."
    return (
        f"Trained against a critic ({loss.adversarial.kind}, {loss.adversarial.critic}), which\n"
        "rewards plausible texture: detail that looks sharp need not have been there."
    )


def _schedule(config: DeblurrerTraining) -> str:
    if config.schedule == "cosine":
        return "one cosine"
    return f"constant for {config.decay_from:.0%} of the steps, then linear to zero"


def _parents(config: DeblurrerTraining) -> str:
    """The weights that the training started from, with their digests."""
    named = []
    if config.start_from is not None:
        named.append(f"Continued from {_file(config.start_from)}.")
    if config.encoder_weights == IMAGENET:
        named.append("Encoder from ImageNet weights.")
    elif config.encoder_weights is not None:
        named.append(f"Encoder from {_file(Path(config.encoder_weights))}.")
    return " ".join(named) or "Started from random weights."


def _file(path: Path) -> str:
    return f"`{path.name}` (SHA-256 {sha256(path)})"


def _indented(section: Section) -> str:
    text = yaml.safe_dump(section.model_dump(mode="json"), default_flow_style=None)
    return "".join(f"    {line}\n" for line in text.splitlines())
