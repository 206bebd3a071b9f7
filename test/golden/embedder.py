"""Writes embedder.json: sentence vectors of all-MiniLM-L6-v2 (int8 ONNX) from Python's onnxruntime and tokenizers.

    pip install onnxruntime tokenizers numpy
    python embedder.py model.onnx ../../assets/all-minilm-l6-v2/tokenizer.json > embedder.json

One text at a time, without padding. `mean` is the unit vector of the mean of all token vectors, `cls` that of the first.
"""

import json
import sys

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

TEXTS = [
    "",
    "A",
    "The 1973 oil crisis began in October 1973.",
    "When did the oil crisis begin?",
    "Blue whales are the largest animals known to have ever existed; a grown one is up to 30 metres long.",
    "Blauwale sind die größten Tiere, die je gelebt haben: bis zu 30 Meter lang.",
    "蓝鲸是已知的地球上生存过的体积最大的动物。",
    "naïve café — “quoted” text, e\u0301 and \u00e9, İstanbul, ß, 1\u202f000 €, 👩‍🚀\tTabs\nand lines",
    "for (let i = 0; i < n; i++) sum += a[i] * b[i]; // [CLS] and [SEP] are words here? Supercalifragilisticexpialidocious",
    " ".join(
        f"Sentence number {n} says that the square of {n} is {n * n}, which is {'even' if n % 2 == 0 else 'odd'}."
        for n in range(1, 12)
    ),
]


def unit(vector):
    return (vector / np.linalg.norm(vector)).tolist()


def main():
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(sys.argv[2])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rows = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        assert len(ids) <= 256
        array = np.array([ids], dtype=np.int64)
        feed = {
            "input_ids": array,
            "attention_mask": np.ones_like(array),
            "token_type_ids": np.zeros_like(array),
        }
        (hidden,) = session.run(["last_hidden_state"], feed)
        hidden = hidden[0].astype(np.float64)
        rows.append({"text": text, "tokens": len(ids), "mean": unit(hidden.mean(axis=0)), "cls": unit(hidden[0])})
    rounded = json.loads(json.dumps(rows), parse_float=lambda digits: round(float(digits), 7))
    print("[" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rounded) + "]")


main()
