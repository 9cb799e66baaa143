"""vLLM's engine, and transformers beside it. It runs in vLLM's environment."""

import time
from typing import Any

from guest.suites.processes import say
from guest.suites.vllm.prompts import AGREEING_TOKENS, EXAMPLES, PROMPTS, QUESTIONS
from guest.suites.work import hand_back


def engine(job: dict[str, Any]) -> None:
    """Load the model and generate: one request, a batch, the prompts to compare, the questions."""
    from vllm import LLM, SamplingParams

    say("vLLM: loading the model")
    started = time.monotonic()
    more = {"kv_cache_memory_bytes": job["kv_gib"] << 30} if job["gpus"] else {}
    llm = LLM(
        model=job["folder"],
        dtype=job["dtype"],
        max_model_len=job["context"],
        seed=1,
        tensor_parallel_size=job["tensor_parallel"],
        enforce_eager=job["eager"],
        disable_log_stats=False,
        enable_prefix_caching=False,
        **more,
    )
    told: dict[str, Any] = {"load_seconds": time.monotonic() - started, "load_done": time.time()}
    say(f"vLLM: loaded in {told['load_seconds']:.0f} s")
    fixed = SamplingParams(temperature=0, max_tokens=job["tokens"], ignore_eos=True)
    llm.generate([PROMPTS[0]], fixed, use_tqdm=False)  # the first request compiles
    told["single"] = generate(llm, [PROMPTS[0]], fixed)
    told["batch"] = generate(llm, list(PROMPTS) * job["batch"], fixed)
    greedy = SamplingParams(temperature=0, max_tokens=AGREEING_TOKENS, ignore_eos=True)
    told["agreement"] = [
        {"prompt": list(one.prompt_token_ids), "tokens": list(one.outputs[0].token_ids)}
        for one in llm.generate(list(PROMPTS), greedy, use_tqdm=False)
    ]
    short = SamplingParams(temperature=0, max_tokens=12, stop=["\n"])
    asked = [f"{EXAMPLES}Q: {question}\nA:" for question, _ in QUESTIONS]
    told["answers"] = [one.outputs[0].text for one in llm.generate(asked, short, use_tqdm=False)]
    hand_back(job, told)


def generate(llm: Any, prompts: list[str], how: Any) -> dict[str, float]:
    """Generate, and measure by the wall clock and by the engine's own counters."""
    before, started = counters(llm), time.perf_counter()
    outputs = llm.generate(prompts, how, use_tqdm=False)
    seconds = time.perf_counter() - started
    after = counters(llm)
    tokens = sum(len(one.outputs[0].token_ids) for one in outputs)
    engine_tokens = after["tokens"] - before["tokens"]
    engine_seconds = after["seconds"] - before["seconds"]
    return {
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "engine_tokens": engine_tokens,
        "engine_request_seconds": engine_seconds,
    }


def counters(llm: Any) -> dict[str, float]:
    """Read how many tokens the engine made, and how long its requests took in all."""
    found = {one.name: one for one in llm.get_metrics()}
    return {
        "tokens": found["vllm:generation_tokens"].value,
        "seconds": found["vllm:e2e_request_latency_seconds"].sum,
    }


def compare(job: dict[str, Any]) -> None:
    """Generate greedily with transformers, from the very tokens that vLLM was given."""
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if job["gpus"] else "cpu"
    dtype = getattr(torch, job["dtype"])
    model = AutoModelForCausalLM.from_pretrained(job["folder"], dtype=dtype).to(device).eval()
    found = []
    for one in job["agreement"]:
        tokens = torch.tensor([one["prompt"]], device=device)
        with torch.inference_mode():
            made = model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                do_sample=False,
                max_new_tokens=AGREEING_TOKENS,
                min_new_tokens=AGREEING_TOKENS,
                pad_token_id=0,
            )
        found.append(made[0, tokens.shape[1] :].tolist())
    hand_back(job, {"tokens": found})
