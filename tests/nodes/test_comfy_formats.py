"""Weights that ComfyUI writes in few bits: our engine has its very numbers, or refuses the file."""

import pytest
import torch
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy

SIZE = (256, 512)
# Where a format has several kinds.
MADE = {
    "float8_e4m3fn": [{"scale": "recalculate"}, {"scale": 1.0}],
    "float8_e5m2": [{"scale": "recalculate"}],
    "int8_tensorwise": [{}, {"per_channel": True}, {"per_channel": True, "convrot": True}],
}
PLAIN = set(MADE)


def written(path, kind, options):
    """A layer as ComfyUI quantises and saves it, and what its own dequantise makes of it."""
    import comfy.ops
    from comfy.quant_ops import QUANT_ALGOS, QuantizedTensor

    wide = torch.randn(SIZE, generator=torch.Generator().manual_seed(0)).mul(0.05)
    layout = QUANT_ALGOS[kind]["comfy_tensor_layout"]
    layer = comfy.ops.mixed_precision_ops({}).Linear(*reversed(SIZE), bias=False)
    layer.quant_format = kind
    layer.weight = torch.nn.Parameter(
        QuantizedTensor.from_float(wide, layout, **options), requires_grad=False
    )
    # ComfyUI 0.8 leaves it to its saver to take the numbers out.
    numbers = {name: getattr(t, "_qdata", t) for name, t in layer.state_dict().items()}
    save_file({f"a.{name}": tensor.contiguous() for name, tensor in numbers.items()}, path)
    return layer.weight.dequantize()


def kinds():
    from comfy.quant_ops import QUANT_ALGOS

    return [(kind, options) for kind in QUANT_ALGOS for options in MADE.get(kind, [{}])]


def ours(pack, file):
    """The weight as our engine computes with it, [out, in]."""
    checkpoint, low_bit = pack.stage_core.models.checkpoint, pack.stage_core.models.low_bit

    def network():
        return torch.nn.ModuleDict({"a": low_bit.Linear(*reversed(SIZE), bias=False)})

    layer = checkpoint.empty(network)
    checkpoint.open_weights(file, "a layer").load_into(layer, torch.float32, "cpu")
    return layer["a"](torch.eye(SIZE[1])).T


def test_each_format_is_what_comfyui_makes_of_it_or_refused(pack, tmp_path):
    tried = kinds()
    # ComfyUI 0.8 has these and nvfp4, and no integers yet.
    assert {kind for kind, _ in tried} > {"float8_e4m3fn", "float8_e5m2"}
    file = tmp_path / "x.safetensors"
    for kind, options in tried:
        wanted = written(file, kind, options)
        if kind in PLAIN and "convrot" not in options:
            assert torch.equal(ours(pack, file), wanted), (kind, options)
        else:
            with pytest.raises(ValueError, match=rf"stores a\.weight as {kind}.* not computed"):
                ours(pack, file)
