"""Write a small Llama of random weights without any download.

usage: make_model.py FOLDER [SIZE]

The folder gets a config.json and a byte-level BPE tokenizer trained on made-up
words; an engine loads it with `--load-format dummy`. SIZE is 7m, the default,
or 35m: millions of parameters. A decode step takes a few milliseconds on one
core with 7m, and 20 to 150 ms with 35m, by the sequences in it.
"""

import json
import pathlib
import random
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 8192
CONTEXT = 4096
SIZES = {
    "7m": {
        "hidden_size": 256,
        "intermediate_size": 688,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 32,
    },
    "35m": {
        "hidden_size": 384,
        "intermediate_size": 1024,
        "num_hidden_layers": 16,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 64,
    },
}


def tokenizer() -> Tokenizer:
    rng = random.Random(1)
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(12_000)]
    lines = (" ".join(rng.choices(words, k=40)) + "." for _ in range(6_000))
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(lines, trainer)
    return bpe


def main(folder: pathlib.Path, size: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer().save(str(folder / "tokenizer.json"))
    files = {
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "model_max_length": CONTEXT,
            "clean_up_tokenization_spaces": False,
            "chat_template": "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
            "{% if add_generation_prompt %}assistant: {% endif %}",
        },
        "generation_config.json": {"bos_token_id": 0, "eos_token_id": 1},
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": VOCABULARY,
            **SIZES[size],
            "hidden_act": "silu",
            "max_position_embeddings": CONTEXT,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "tie_word_embeddings": False,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "initializer_range": 0.02,
            "torch_dtype": "bfloat16",
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    arguments = sys.argv[1:] + ["7m"] * (len(sys.argv) == 2)
    if len(arguments) != 2 or arguments[1] not in SIZES:
        sys.exit(__doc__)
    main(pathlib.Path(arguments[0]), arguments[1])
