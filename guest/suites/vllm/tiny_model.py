"""A tiny model of random weights. It runs in vLLM's environment."""

import sysconfig
from pathlib import Path
from typing import Any

from guest.suites.work import hand_back

CONTEXT = 512


def make_model(job: dict[str, Any]) -> None:
    """Make a tiny model: a tokenizer trained on local text, and a Llama of random weights."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    texts = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:60]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=["<s>", "</s>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train([str(one) for one in texts], trainer)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=2 * CONTEXT,
        bos_token_id=0,
        eos_token_id=1,
        # Spread, so that the likeliest token leads clearly and rounding does not choose it.
        initializer_range=0.1,
        tie_word_embeddings=False,
    )
    folder = Path(job["folder"])
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{"bos_token": "<s>", "eos_token": "</s>"}
    ).save_pretrained(folder)
    hand_back(job, {"folder": str(folder)})
