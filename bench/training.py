"""PyTorch's side of training.ts: a Llama with random weights, trained one step for each line that it reads.

    python bench/training.py '{"shape": {...}, "mode": "lora", "rank": 32, "threads": 2, "rate": 1e-4, "ids": [[...], ...]}'

The shape is a model's configuration, as training.ts passes it; the ids are the tokens of each sequence, all of one length.
Prints one line of JSON when it is ready and one for each step: {seconds, loss}. Needs the packages torch and transformers.
"""

import json
import sys
import time

import torch
import transformers
from torch import nn


class LowRank(nn.Module):
    """y = x W^T + scale (x A^T) B^T with W frozen."""

    def __init__(self, base: nn.Linear, rank: int, scale: float):
        super().__init__()
        self.base = base
        self.scale = scale
        self.a = nn.Parameter(torch.empty(rank, base.in_features).uniform_(-1, 1) / base.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return torch.add(self.base(x), (x @ self.a.T) @ self.b.T, alpha=self.scale)


def make_model(shape, mode, rank):
    config = transformers.LlamaConfig(
        vocab_size=shape["vocabularySize"],
        hidden_size=shape["hiddenSize"],
        intermediate_size=shape["mlpSize"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kvHeads"],
        head_dim=shape["headDim"],
        max_position_embeddings=shape["contextLength"],
        tie_word_embeddings=shape["tiedHead"],
        use_cache=False,
    )
    model = transformers.LlamaForCausalLM(config).float().train()
    if mode == "lora":
        model.requires_grad_(False)
        for layer in model.model.layers:
            for part, names in ((layer.self_attn, "qkvo"), (layer.mlp, ("gate", "up", "down"))):
                for name in names:
                    setattr(part, f"{name}_proj", LowRank(getattr(part, f"{name}_proj"), rank, 2.0))
    return model


def main():
    options = json.loads(sys.argv[1])
    torch.set_num_threads(options["threads"])
    torch.manual_seed(1)
    model = make_model(options["shape"], options["mode"], options["rank"])
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=options["rate"], betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    ids = torch.tensor(options["ids"])

    def step():
        logits = model(input_ids=ids[:, :-1]).logits
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.item()

    count = sum(parameter.numel() for parameter in trained)
    ready = {"torch": torch.__version__, "transformers": transformers.__version__, "trained": count}
    print(json.dumps(ready), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        loss = step()
        print(json.dumps({"seconds": time.perf_counter() - started, "loss": loss}), flush=True)


main()
