"""Writes byte-pairs.json: the merges that Hugging Face's trainer (tokenizers 0.23) learns from two texts of the demo's library.

    pip install tokenizers
    python byte-pairs.py ../../assets/library > byte-pairs.json
"""

import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

FILES = ["amazon-rainforest.md", "international-atomic-time.txt"]
TEXTS = [Path(sys.argv[1], file).read_text(encoding="utf-8") for file in FILES] + ["aaaaaaa aaa aaaa Größe 雨林雨林 \t\n\n\n x"]
SIZE = 700

tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
trainer = trainers.BpeTrainer(
    vocab_size=SIZE,
    min_frequency=2,
    special_tokens=["<|begin_of_text|>", "<|end_of_text|>"],
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
)
tokenizer.train_from_iterator(TEXTS, trainer)
model = json.loads(tokenizer.to_str())["model"]
tokens = sorted(model["vocab"], key=model["vocab"].get)
print(json.dumps({"files": FILES, "also": TEXTS[2], "vocabularySize": SIZE, "tokens": tokens, "merges": model["merges"]}, ensure_ascii=False))
