"""Inference with vLLM: load, throughput, memory, output, the OpenAI server."""
