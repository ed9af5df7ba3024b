"""Small random models of every family, as transformers saves them and as llama.cpp's converter would write them."""

import copy
import math

import gguf
import numpy
import torch
import transformers

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 256}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}
VOCABULARY = 160


def longrope(pairs):
    return {"type": "longrope", "short_factor": [1.0 + 0.01 * i for i in range(pairs)],
            "long_factor": [1.0 + 0.2 * i for i in range(pairs)]}


def sizes(**changes):
    return {"vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048,
            "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **changes}


# name: configuration class, architecture of its GGUF form (none: that form cannot say it), fields
FAMILIES = {
    # Llama 3.x: eight query heads share a key/value head, as in the 70B model.
    "llama3": ("LlamaConfig", "llama", sizes(num_attention_heads=8, num_key_value_heads=1, head_dim=32,
                                             rope_theta=500000.0, rope_scaling=LLAMA3)),
    "smollm2": ("LlamaConfig", "llama", sizes(head_dim=32, rope_theta=100000.0, tie_word_embeddings=True)),
    "falcon3": ("LlamaConfig", "llama", sizes(head_dim=256, rope_theta=1000042.0, num_hidden_layers=2)),
    "mistral": ("MistralConfig", "llama", sizes(head_dim=32, rope_theta=1e6, sliding_window=None)),
    "mistral window": ("MistralConfig", "llama", sizes(head_dim=32, sliding_window=64)),
    "qwen2": ("Qwen2Config", "qwen2", sizes(hidden_size=128, rope_theta=1e6)),
    "qwen2 tied": ("Qwen2Config", "qwen2", sizes(hidden_size=128, tie_word_embeddings=True)),
    "qwen2 yarn": ("Qwen2Config", "qwen2", sizes(hidden_size=128, rope_scaling=YARN)),
    "qwen2 window": ("Qwen2Config", None, sizes(hidden_size=128, use_sliding_window=True, sliding_window=64,
                                                max_window_layers=2)),
    "qwen3": ("Qwen3Config", "qwen3", sizes(head_dim=64, rope_theta=1e6)),
    "gemma2": ("Gemma2Config", "gemma2", sizes(
        head_dim=64, query_pre_attn_scalar=64, sliding_window=96, num_hidden_layers=4,
        attn_logit_softcapping=5.0, final_logit_softcapping=4.0)),
    "gemma2 wide heads": ("Gemma2Config", None, sizes(
        head_dim=256, query_pre_attn_scalar=144, sliding_window=64, num_hidden_layers=2)),
    "gemma3": ("Gemma3TextConfig", "gemma3", sizes(
        head_dim=64, query_pre_attn_scalar=64, num_key_value_heads=1, sliding_window=64, num_hidden_layers=7,
        rope_theta=1e6, rope_local_base_freq=10000.0)),
    "gemma3 linear": ("Gemma3TextConfig", "gemma3", sizes(
        head_dim=256, query_pre_attn_scalar=256, sliding_window=300, num_hidden_layers=6, rope_theta=1e6,
        rope_local_base_freq=10000.0, rope_scaling={"rope_type": "linear", "factor": 8.0})),
    "phi3": ("Phi3Config", "phi3", sizes(hidden_size=128, sliding_window=300)),
    "phi4": ("Phi3Config", "phi3", sizes(hidden_size=128, rope_theta=250000.0)),
    "phi3 longrope": ("Phi3Config", "phi3", sizes(
        hidden_size=128, original_max_position_embeddings=128, rope_scaling=longrope(16))),
    "phi4 mini": ("Phi3Config", "phi3", sizes(
        hidden_size=128, num_attention_heads=2, num_key_value_heads=1, partial_rotary_factor=0.75,
        tie_word_embeddings=True)),
}


def set_weights(model, seed):
    """Sizes that give logits of a standard deviation near 2 and attention that prefers some tokens."""
    generator = torch.Generator().manual_seed(seed)
    centred = "Gemma" in type(model).__name__
    tied = model.config.tie_word_embeddings
    for name, tensor in model.named_parameters():
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("norm.weight"):
            value = 0.2 * noise + (0.0 if centred else 1.0)
        elif name.endswith("bias"):
            value = 0.5 * noise
        elif name.endswith("lm_head.weight") or (tied and "embed_tokens" in name):
            value = 2.0 * noise / math.sqrt(tensor.shape[1])
        elif "embed_tokens" in name:
            value = noise
        else:
            value = 1.3 * noise / math.sqrt(tensor.shape[1])
        tensor.data.copy_(value)


def make(name, seed=1):
    class_name, _, fields = FAMILIES[name]
    config = getattr(transformers, class_name)(**copy.deepcopy(fields))
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    set_weights(model, seed)
    return model.eval()


@torch.inference_mode()
def logits(model, ids):
    return model(torch.tensor([ids]), use_cache=False).logits[0].numpy()


def adjacent_pairs(weight, heads):
    """Rows of halves in the order of pairs, as the converter stores q and k of llama."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def llama3_factors(config):
    """One divisor per frequency: transformers' own frequencies with and without the scaling."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
    plain, _ = ROPE_INIT_FUNCTIONS["default"](config, "cpu")
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    return (plain / scaled).numpy()


def write_scaling(writer, config):
    scaling = getattr(config, "rope_scaling", None) or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(config))
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling["factor"])
    if kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(scaling["factor"])
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    if kind == "longrope":
        old = config.original_max_position_embeddings
        writer.add_rope_scaling_orig_ctx_len(old)
        stretch = config.max_position_embeddings / old
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(stretch) / math.log(old)))
        for length in ("long", "short"):
            factors = numpy.array(scaling[f"{length}_factor"], dtype=numpy.float32)
            writer.add_tensor(f"rope_factors_{length}.weight", factors)


def write_gguf(model, name, path):
    architecture = FAMILIES[name][1]
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    if architecture in ("llama", "phi3"):
        writer.add_rope_dimension_count(int(head_dim * getattr(config, "partial_rotary_factor", 1.0)))
    if getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    write_scaling(writer, config)
    kinds = {text: kind for kind, text in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[architecture], config.num_hidden_layers)
    for source, tensor in model.state_dict().items():
        if source == "lm_head.weight" and config.tie_word_embeddings:
            continue
        value = tensor.numpy()
        if architecture == "llama" and source.endswith(("q_proj.weight", "k_proj.weight")):
            queries = source.endswith("q_proj.weight")
            value = adjacent_pairs(value, config.num_attention_heads if queries else config.num_key_value_heads)
        if architecture.startswith("gemma") and source.endswith("norm.weight"):
            value = value + 1.0
        writer.add_tensor(names.get_name(source, try_suffixes=(".weight", ".bias")), numpy.ascontiguousarray(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
