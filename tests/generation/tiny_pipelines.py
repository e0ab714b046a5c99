"""Tiny pipelines with random weights, of several families, made on the spot: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLLTXVideo,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)

from pipeline.contracts.generation import GenerationSettings, Scalar

_VOCABULARY: Final = 260
_HIDDEN: Final = 32
_CHAT: Final = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def make_tokenizer(length: int, *, begin: bool = True, chat: str | None = None) -> Any:
    """A tokenizer of bytes: 256 tokens and four special ones."""
    specials = ["<bos>", "<pad>", "<eos>", "<unk>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*specials, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>" if begin else "$A <eos>", special_tokens=[("<bos>", 0), ("<eos>", 2)]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>",
        model_max_length=length,
    )  # fmt: skip
    if chat is not None:
        made.chat_template = chat
    return made


def make_vae(latent: int, **more: Any) -> Any:
    channels = (16, 32, 32, 32)
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=latent, block_out_channels=channels, layers_per_block=1,
        norm_num_groups=8, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=64, **more,
    )  # fmt: skip


def make_clip() -> Any:
    return CLIPTextModel(
        CLIPTextConfig(
            bos_token_id=0, pad_token_id=1, eos_token_id=2, hidden_size=_HIDDEN, intermediate_size=64,
            num_attention_heads=4, num_hidden_layers=2, vocab_size=_VOCABULARY, max_position_embeddings=77,
            projection_dim=_HIDDEN,
        )
    )  # fmt: skip


def make_t5() -> Any:
    return T5EncoderModel(
        T5Config(
            vocab_size=_VOCABULARY, d_model=_HIDDEN, d_ff=64, d_kv=8, num_heads=4, num_layers=2, pad_token_id=1,
            eos_token_id=2,
        )
    )  # fmt: skip


def make_stable_diffusion() -> Any:
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(32, 64),
        norm_num_groups=8, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=_HIDDEN, attention_head_dim=8,
    )  # fmt: skip
    return StableDiffusionPipeline(
        unet=unet, vae=make_vae(4), text_encoder=make_clip(), tokenizer=make_tokenizer(77),
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def make_flux() -> Any:
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=_HIDDEN, pooled_projection_dim=_HIDDEN, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    vae = make_vae(4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06, scaling_factor=1.5)
    return FluxPipeline(
        transformer=transformer, vae=vae, text_encoder=make_clip(), text_encoder_2=make_t5(),
        tokenizer=make_tokenizer(77), tokenizer_2=make_tokenizer(64, begin=False),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


def make_z_image() -> Any:
    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=16, dim=_HIDDEN, n_layers=2, n_refiner_layers=1,
        n_heads=2, n_kv_heads=2, cap_feat_dim=_HIDDEN, rope_theta=256.0, axes_dims=[8, 4, 4], axes_lens=[512, 64, 64],
    )  # fmt: skip
    with torch.no_grad():  # left uninitialised by the class
        transformer.x_pad_token.fill_(1.0)
        transformer.cap_pad_token.fill_(1.0)
    encoder = Qwen3Model(
        Qwen3Config(
            hidden_size=_HIDDEN, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, vocab_size=_VOCABULARY, max_position_embeddings=512, pad_token_id=1,
            bos_token_id=0, eos_token_id=2,
        )
    )  # fmt: skip
    return ZImagePipeline(
        transformer=transformer, vae=make_vae(16, scaling_factor=0.3611, shift_factor=0.1159), text_encoder=encoder,
        tokenizer=make_tokenizer(512, chat=_CHAT), scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


def make_pixart() -> Any:
    transformer = PixArtTransformer2DModel(
        sample_size=8, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=4,
        caption_channels=_HIDDEN, in_channels=4, cross_attention_dim=_HIDDEN, out_channels=8,
        norm_type="ada_norm_single", norm_elementwise_affine=False, attention_bias=True,
        activation_fn="gelu-approximate", num_embeds_ada_norm=1000,
    )  # fmt: skip
    return PixArtSigmaPipeline(
        transformer=transformer, vae=make_vae(4), text_encoder=make_t5(), tokenizer=make_tokenizer(64, begin=False),
        scheduler=DPMSolverMultistepScheduler(),
    )  # fmt: skip


def make_ltx_video() -> Any:
    transformer = LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, patch_size=1, patch_size_t=1, num_attention_heads=4, attention_head_dim=8,
        cross_attention_dim=_HIDDEN, num_layers=1, caption_channels=_HIDDEN,
    )  # fmt: skip
    vae = AutoencoderKLLTXVideo(
        in_channels=3, out_channels=3, latent_channels=8, block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8), layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1), spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False), decoder_inject_noise=(False,) * 5,
        upsample_residual=(False,) * 4, upsample_factor=(1,) * 4, timestep_conditioning=False, patch_size=1,
        patch_size_t=1, encoder_causal=True, decoder_causal=False,
    )  # fmt: skip
    return LTXPipeline(
        transformer=transformer, vae=vae, text_encoder=make_t5(), tokenizer=make_tokenizer(64, begin=False),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


FAMILIES: Final[dict[str, tuple[Callable[[], Any], dict[str, Any], dict[str, Scalar]]]] = {
    "stable-diffusion": (make_stable_diffusion, {"guidance": 4.0, "negative_prompt": "blurry"}, {}),
    "flux": (make_flux, {"guidance": 3.5}, {"max_sequence_length": 64}),
    "z-image": (make_z_image, {"guidance": 0.0}, {"max_sequence_length": 64}),
    "pixart": (
        make_pixart,
        {"guidance": 4.0},
        {"max_sequence_length": 64, "use_resolution_binning": False, "clean_caption": False},
    ),
    "ltx-video": (make_ltx_video, {"guidance": 3.0, "frames": 9}, {"max_sequence_length": 64}),
}
"""Name -> how it is made, its settings, and what goes into ``extra``."""


def family_settings(name: str, **more: Any) -> GenerationSettings:
    """How a tiny pipeline is asked: 64 pixels, 3 steps."""
    _, settings, extra = FAMILIES[name]
    return GenerationSettings(**{"steps": 3, "width": 64, "height": 64, "extra": extra, **settings, **more})
