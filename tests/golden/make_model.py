#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make the golden models of test_model_golden: tests/golden/model-NAME.gguf and model-NAME-expected.gguf.

    make_model.py DIRECTORY

Tiny random transformers models (Llama with Llama 3.1's RoPE scaling, Qwen2, Qwen3) are written as GGUF with the gguf
package, Q and K of Llama permuted here as llama.cpp's converter does it. What is expected of them is computed by
transformers in float64: log-probs of two sequences and the gradient of a weighted sum of them, in the files' layout.
"""
import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers

SIZES = dict(vocab_size=48, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5)
SCALING = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
               original_max_position_embeddings=32)
LENGTHS = (30, 17)

LAYER_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def make_models():
    """(name, network) of each; keyword arguments as transformers spells them."""
    llama = transformers.LlamaConfig(**SIZES, head_dim=12, tie_word_embeddings=False,
                                     rope_parameters=dict(SCALING, rope_theta=500000.0))
    qwen2 = transformers.Qwen2Config(**SIZES, tie_word_embeddings=True,
                                     rope_parameters=dict(rope_type="default", rope_theta=1000000.0))
    qwen3 = transformers.Qwen3Config(**SIZES, head_dim=16, tie_word_embeddings=True,
                                     rope_parameters=dict(rope_type="default", rope_theta=10000.0))
    yield "llama", transformers.LlamaForCausalLM(llama)
    yield "qwen2", transformers.Qwen2ForCausalLM(qwen2)
    yield "qwen3", transformers.Qwen3ForCausalLM(qwen3)


def randomise(network):
    """Weights large enough that every path matters; exactly representable in float32."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            noise = torch.randn(weight.shape)
            if name.endswith("norm.weight"):
                weight.copy_(1 + 0.3 * noise)
            elif name.endswith("bias"):
                weight.copy_(0.3 * noise)
            else:
                weight.copy_(noise * (1.0 if "embed" in name else 1.5 / weight.shape[1] ** 0.5))


def gguf_name(name):
    if name.startswith("model.layers."):
        layer, rest = name.removeprefix("model.layers.").split(".", 1)
        module, kind = rest.rsplit(".", 1)
        return f"blk.{layer}.{LAYER_NAMES[module]}.{kind}"
    return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
            "lm_head.weight": "output.weight"}[name]


def file_order(config, name, array):
    """Rows as in a GGUF file: interleaved halves for Q and K of the llama architecture."""
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(name.split(".")[-2])
    if config.model_type != "llama" or heads is None:
        return array
    shape = array.shape
    return array.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def write_tokenizer(writer):
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789.,!?()") + ["Ġ", "Ċ", "th"]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + letters
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * len(letters))
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    assert len(tokens) == SIZES["vocab_size"]


def write_model(path, network):
    config = network.config
    writer = gguf.GGUFWriter(path, config.model_type)
    writer.add_name(f"golden {config.model_type}")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_file_type(0)
    write_tokenizer(writer)
    if config.rope_parameters["rope_type"] == "llama3":
        theta = config.rope_parameters["rope_theta"]
        plain = 1.0 / theta ** (torch.arange(0, head_dim, 2).float() / head_dim)
        writer.add_tensor("rope_freqs.weight", (plain / network.model.rotary_emb.inv_freq).numpy())
    for name, weight in network.named_parameters():
        name = gguf_name(name)
        writer.add_tensor(name, np.ascontiguousarray(file_order(config, name, weight.detach().numpy())))
    close(writer)


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_expected(path, network):
    network = network.double()
    writer = gguf.GGUFWriter(path, "expected")
    total = 0
    for index, length in enumerate(LENGTHS):
        tokens = torch.randint(0, SIZES["vocab_size"], (length,))
        weights = torch.randn(length - 1).double()
        logits = network(tokens[None]).logits[0, :-1]
        logp = torch.log_softmax(logits, -1).gather(1, tokens[1:, None])[:, 0]
        total = total + (weights * logp).sum()
        writer.add_array(f"tokens.{index}", tokens.tolist())
        writer.add_array(f"weights.{index}", weights.tolist())
        writer.add_array(f"logp.{index}", logp.tolist())
    total.backward()
    for name, weight in network.named_parameters():
        name = gguf_name(name)
        gradient = file_order(network.config, name, weight.grad.numpy()).astype(np.float32)
        writer.add_tensor(name, np.ascontiguousarray(gradient))
    close(writer)


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.manual_seed(20)
    for name, network in make_models():
        network.eval()
        randomise(network)
        write_model(folder / f"model-{name}.gguf", network)
        write_expected(folder / f"model-{name}-expected.gguf", network)
        print(name, sum(p.numel() for p in network.parameters()), "weights")


if __name__ == "__main__":
    main()
