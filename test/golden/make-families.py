"""Makes test/golden/families: a tiny random model of each family, as safetensors and as GGUF, with the logits that Hugging Face
transformers computes for it in f32, and test/golden/quantisation.json, random blocks with the `gguf` package's values.

    python -m venv venv && venv/bin/pip install torch==2.15.0 transformers==5.24.0 gguf==0.19.0 safetensors==0.8.0
    venv/bin/python make-families.py

Not run by the tests: its output is committed. See README.md, "families".
"""

import base64
import json
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from tokenizers import pre_tokenizers
from transformers import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

HERE = Path(__file__).parent
OUT = HERE / "families"
LENGTHS = (1, 9, 40)
SHAPE = dict(
    vocab_size=128, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=256, initializer_range=0.2, bos_token_id=0, eos_token_id=1, torch_dtype="float32",
)
ROPE = dict(rope_type="default", rope_theta=10000.0)
LLAMA3 = dict(
    rope_type="llama3", rope_theta=50000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=64)
LINEAR = dict(rope_type="linear", rope_theta=10000.0, factor=2.5)

MODELS = {
    "llama": LlamaConfig(**SHAPE, tie_word_embeddings=True, rope_parameters=ROPE),
    "llama-llama3": LlamaConfig(**{**SHAPE, "num_attention_heads": 6, "num_key_value_heads": 3, "hidden_size": 72},
                                tie_word_embeddings=False, rope_parameters=LLAMA3),
    "llama-linear": LlamaConfig(**SHAPE, tie_word_embeddings=True, rope_parameters=LINEAR, head_dim=24),
    "mistral": MistralConfig(**SHAPE, tie_word_embeddings=False, rope_parameters=ROPE, sliding_window=None),
    "mistral-window": MistralConfig(**SHAPE, tie_word_embeddings=False, rope_parameters=ROPE, sliding_window=8),
    "qwen2": Qwen2Config(**SHAPE, tie_word_embeddings=True, rope_parameters={**ROPE, "rope_theta": 1000000.0}),
    "qwen2-yarn": Qwen2Config(**SHAPE, tie_word_embeddings=False, rope_parameters=YARN),
    "qwen3": Qwen3Config(**SHAPE, head_dim=24, tie_word_embeddings=True, rope_parameters={**ROPE, "rope_theta": 1000000.0}),
    "qwen3-yarn": Qwen3Config(**SHAPE, head_dim=24, tie_word_embeddings=False, rope_parameters=YARN),
}

# What each config would look like in files written before transformers 5 (rope_theta and rope_scaling).
OLD_STYLE = {"qwen2", "llama-llama3", "qwen3-yarn"}


def random_model(config):
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.5)
    return model


def tiny_tokenizer(size):
    """Byte-level BPE without merges: as many bytes as the vocabulary has room for."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<|bos|>", "<|eos|>"] + alphabet[: size - 2]
    added = [
        dict(id=i, content=tokens[i], single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
        for i in range(2)
    ]
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
    return tokens, dict(
        version="1.0", truncation=None, padding=None, added_tokens=added, normalizer=None, pre_tokenizer=byte_level,
        post_processor=None, decoder=byte_level,
        model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None,
                   fuse_unk=False, byte_fallback=False, ignore_merges=False,
                   vocab={token: i for i, token in enumerate(tokens)}, merges=[]),
    )


def cases(model, config):
    generator = torch.Generator().manual_seed(7)
    result = []
    for length in LENGTHS:
        ids = torch.randint(0, config.vocab_size, (1, length), generator=generator)
        with torch.no_grad():
            logits = model(ids).logits[0]
        # Of the longer texts the last positions say as much as all.
        kept = logits[-4:]
        rounded = [[float(f"{x:.6g}") for x in row] for row in kept.tolist()]
        result.append(dict(ids=ids[0].tolist(), first=length - len(rounded), logits=rounded))
    return result


def permute(weights, heads):
    """Rotate halves to interleaved pairs, as llama.cpp stores Llama's q and k."""
    shape = weights.shape
    return weights.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def write_gguf(path, model, config, tokens):
    architecture = "llama" if config.model_type == "mistral" else config.model_type
    writer = gguf.GGUFWriter(path, architecture)
    rope = config.rope_parameters
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(rope["rope_theta"])
    if head_dim * config.num_attention_heads != config.hidden_size:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if architecture == "llama":
        writer.add_vocab_size(config.vocab_size)
        writer.add_rope_dimension_count(head_dim)
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * (len(tokens) - 2))
    writer.add_token_merges(["! !"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)

    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, architecture.upper()), config.num_hidden_layers)
    state = model.state_dict()
    if config.tie_word_embeddings:
        del state["lm_head.weight"]
    if rope["rope_type"] == "llama3":
        plain = 1.0 / rope["rope_theta"] ** (np.arange(0, head_dim, 2) / head_dim)
        writer.add_tensor("rope_freqs.weight", (plain / model.model.rotary_emb.inv_freq.numpy()).astype(np.float32))
    for name, tensor in state.items():
        data = tensor.numpy()
        if architecture == "llama" and "q_proj" in name:
            data = permute(data, config.num_attention_heads)
        if architecture == "llama" and "k_proj" in name:
            data = permute(data, config.num_key_value_heads)
        data = np.ascontiguousarray(data)
        gguf_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if data.ndim == 1:
            writer.add_tensor(gguf_name, data)
        else:
            kind = gguf.GGMLQuantizationType.BF16
            writer.add_tensor(gguf_name, gguf.quants.quantize(data, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def old_style(path):
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    rope_type = rope.pop("rope_type")
    config["rope_scaling"] = None if rope_type == "default" else {"type" if rope_type == "yarn" else "rope_type": rope_type, **rope}
    path.write_text(json.dumps(config, indent=1))


def make_families():
    for index, (name, config) in enumerate(MODELS.items()):
        torch.manual_seed(index)
        # Weights that a bfloat16 holds exactly: the committed files are half as large and every engine sees the same numbers.
        model = random_model(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(parameter.to(torch.bfloat16).float())
        folder = OUT / name
        tokens, tokenizer = tiny_tokenizer(config.vocab_size)
        rotary = model.model.rotary_emb
        expected = dict(
            config="config.json", inverseFrequencies=rotary.inv_freq.tolist(), attentionScale=rotary.attention_scaling,
            cases=cases(model, config),
        )
        sharded = name == "llama-llama3"
        # F32 once, bfloat16 elsewhere; one of them in shards.
        if name in ("llama-llama3", "llama-linear", "mistral-window", "qwen2", "qwen3-yarn"):
            folder.mkdir(parents=True, exist_ok=True)
            write_gguf(folder / "model.gguf", model, config, tokens)
        stored = model if name == "llama-linear" else model.to(torch.bfloat16)
        stored.save_pretrained(folder, max_shard_size="40KB" if sharded else "50GB")
        (folder / "generation_config.json").unlink(missing_ok=True)
        if name in OLD_STYLE:
            old_style(folder / "config.json")
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
        (folder / "tokenizer_config.json").write_text(json.dumps(dict(
            tokenizer_class="PreTrainedTokenizerFast", bos_token="<|bos|>", eos_token="<|eos|>",
            chat_template="{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}")))
        (folder / "logits.json").write_text(json.dumps(expected, separators=(",", ":")))


def make_blocks():
    """Random bytes are blocks of every format; only the half-precision scales are made finite and moderate."""
    random = np.random.default_rng(11)
    halves = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
    formats = []
    for name, positions in halves.items():
        kind = gguf.GGMLQuantizationType[name]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        rows, columns = 3, 512
        data = random.integers(0, 256, (rows * columns // block, size), dtype=np.uint8)
        for position in positions:
            data[:, position : position + 2] = random.normal(0, 0.1, (len(data), 1)).astype(np.float16).view(np.uint8)
        data = data.reshape(rows, -1)
        values = gguf.quants.dequantize(data, kind).astype("<f4")
        formats.append(dict(type=name, shape=[rows, columns], bytes=base64.b64encode(data.tobytes()).decode(),
                            values=base64.b64encode(values.tobytes()).decode()))
    for name in ("F16", "BF16"):
        data = random.normal(0, 1, (2, 48)).astype(np.float16 if name == "F16" else np.float32)
        if name == "BF16":
            data = (data.view(np.uint32) >> 16).astype(np.uint16)
        values = gguf.quants.dequantize(data.view(np.uint8), gguf.GGMLQuantizationType[name]).astype("<f4")
        formats.append(dict(type=name, shape=[2, 48], bytes=base64.b64encode(data.tobytes()).decode(),
                            values=base64.b64encode(values.tobytes()).decode()))
    (HERE / "quantisation.json").write_text(json.dumps(formats, indent=1))


make_blocks()
make_families()
