"""LTX 2.5 on ComfyUI's own classes with small random weights, in files that its loaders read."""

import json
import math

import torch

# Words of 4096 numbers are taken as they are: two halves of so many, for picture and sound.
TRANSFORMER = {"num_attention_heads": 2, "attention_head_dim": 32, "cross_attention_dim": 64}
TRANSFORMER |= {"audio_num_attention_heads": 2, "audio_attention_head_dim": 32}
TRANSFORMER |= {"audio_cross_attention_dim": 64, "caption_channels": 2048, "num_layers": 1}
TRANSFORMER |= {"connector_num_attention_heads": 1, "connector_attention_head_dim": 32}
TRANSFORMER |= {"connector_num_layers": 1}
BLOCKS = [["res_x", 1], ["compress_all", 1], ["res_x", 1], ["compress_all", 1], ["res_x", 1]]
BLOCKS += [["compress_all", 1], ["res_x", 1]]
PICTURES = {"dims": 3, "latent_channels": 128, "blocks": BLOCKS, "norm_layer": "pixel_norm"}
PICTURES |= {"patch_size": 4, "latent_log_var": "uniform", "causal_decoder": False}
PICTURES |= {"encoder_base_channels": 8, "decoder_base_channels": 8}
MEL = {"double_z": True, "mel_bins": 64, "z_channels": 8, "resolution": 256, "in_channels": 2}
MEL |= {"out_ch": 2, "ch": 8, "ch_mult": [1, 2, 4], "num_res_blocks": 1, "attn_resolutions": []}
MEL |= {"dropout": 0.0, "mid_block_add_attention": False, "norm_type": "pixel"}
MEL |= {"causality_axis": "height", "downsample_time": False}
SOUND = {"model": {"params": {"ddconfig": MEL, "sampling_rate": 16000}}}
SOUND |= {"preprocessing": {"stft": {"filter_length": 1024, "hop_length": 160}}}
VOCODER = {"upsample_initial_channel": 32, "output_sample_rate": 24000}


def save_ltx(folder, transformer, pictures, sound):
    """Transformer, VAE of pictures and VAE of sound, under these names."""
    import comfy.ops
    from comfy.ldm.lightricks.av_model import LTXAVModel
    from comfy.ldm.lightricks.vae.audio_vae import AudioVAE
    from comfy.ldm.lightricks.vae.causal_video_autoencoder import VideoVAE

    options = {"operations": comfy.ops.disable_weight_init, "dtype": torch.float32}
    network = LTXAVModel(**TRANSFORMER, **options)
    _save(folder / transformer, network.state_dict(), {"transformer": TRANSFORMER})
    _save(folder / pictures, VideoVAE(config=PICTURES).state_dict(), {"vae": PICTURES})
    config = {"audio_vae": SOUND, "vocoder": VOCODER}
    state = AudioVAE({"config": json.dumps(config)}).state_dict()
    named = {name.replace("autoencoder.", "audio_vae."): tensor for name, tensor in state.items()}
    _save(folder / sound, named, config)


def _save(path, state, config):
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(1)
    made = {name: _random(name, tensor, generator) for name, tensor in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(made, path, {"config": json.dumps(config)})


def _random(name, like, generator):
    if "std-of-means" in name or (like.ndim == 1 and name.endswith("weight")):
        return torch.ones(like.shape)
    if like.ndim < 2:
        return torch.zeros(like.shape)
    return torch.randn(like.shape, generator=generator) / math.sqrt(max(1, like[0].numel()))
