/* SPDX-License-Identifier: Apache-2.0
 *
 * The text of every subcommand and topic, once: `opsm help NAME` prints it, `opsm help --man NAME` makes the man page of
 * it. The overview, the list of man pages and what refers to the others follow from the table.
 */
#include "base/text.h"
#include "cli/cli.h"
#include <string.h>

static const struct cli_text texts[] = {
    {"opsm", "", "reinforcement-learning post-training of language models from off-policy data, on CPUs",
     "opsm generates answers in groups, scores them by verifiers, and takes many optimiser steps on each batch. "
     "Off-policy sequence masking leaves out of a step every answer that is worse than its group's mean and has "
     "drifted too far from the policy that sampled it.\n\n"
     "Results go to standard output, messages to standard error. On a terminal every long wait shows its progress.\n\n"
     "  -q                   warnings and failures only, no progress\n"
     "  -v                   more messages\n"
     "  --help, -h           the help of a command, or the overview\n"
     "  --version            the version\n"
     "  --                   what follows is no option\n\n"
     "Options are written --name VALUE or --name=VALUE.\n\n"
     "Exit codes:\n\n"
     "  0                    done\n"
     "  1                    failed; a sentence says why\n"
     "  2                    wrong usage or configuration\n"
     "  3                    a run that diverged (train, sft)\n"
     "  130                  interrupted, the state is saved: the same command goes on\n"
     "  141                  nobody reads the output any more (SIGPIPE). train, sft, lab and report go on to their "
     "end\n\n"
     "Environment:\n\n"
     "  OPSM_THREADS         number of threads (default: one for every core the process may use)\n"
     "  OPSM_MEMORY          memory that the process may use, as in 3GB (default: what is free, or what is left under "
     "the\n"
     "                       limit of the control group). What needs more is refused before it starts\n"
     "  OPSM_ISA             highest instruction set: ref, avx2, avx512, avx512bf16 or amx\n"
     "  NO_COLOR             set to anything: no colours\n\n"
     "The output directory of a run, RUN, holds:\n\n"
     "  model.gguf           the trained model, when the run has got to its end\n"
     "  adapter.gguf, adapter/  with train.lora: what was trained, for llama.cpp and for PEFT (train.save)\n"
     "  checkpoint-N/        all that a run needs to go on after N optimiser steps\n"
     "  config.yaml          the full configuration in force\n"
     "  metrics.jsonl        numbers of every step, iteration and evaluation; tensorboard/ the same as event files\n"
     "  samples.jsonl        transcripts of a few iterations, for opsm report\n"
     "  rollouts/            every batch, where rollout.save is true\n"},
    {"config", "", "keys of a configuration file", NULL},
    {"tasks", "", "built-in tasks: what they ask, and what is right", NULL},
    {"verifiers", "", "how responses are judged, and what each verifier accepts", NULL},
    {"help", "[NAME]", "this overview, or the help of a command or topic",
     "NAME is a command or topic of the overview.\n\n"
     "  --man [NAME]         the same text as a man page; without a name: the list of pages\n"},
    {"train", "CONFIG.yaml [key.path=value ...]", "post-train a model by reinforcement learning",
     "Generates answers in groups, scores them, and takes several optimiser steps on each batch under the configured\n"
     "objective and mask. Writes metrics.jsonl, config.yaml, checkpoints and model.gguf to `output`.\n\n"
     "Run the same command again to go on where a run stopped: with the same configuration it resumes from the last\n"
     "complete checkpoint, bit-identical to a run that was never interrupted. SIGINT and SIGTERM finish the step, "
     "save\n"
     "and exit with 130.\n\n"
     "What a run began with stays: a checkpoint knows the hash of the model, of its tokenizer, and of every row of "
     "the\n"
     "data, and a run is refused when one differs (files may have other names). Keys that change no number of the\n"
     "training may change: rollout.in_flight, rollout.samples, train.eval_every, train.checkpoint_every, train.keep,\n"
     "train.recompute, train.save_type and eval.*; train.iterations, sft.steps and rollout.max_prompt may grow.\n\n"
     "A run writes into a directory of its own: a new one, one with none of the names that it writes, or one that a "
     "run\n"
     "began. Where it would overwrite anything else, or what it reads itself, it is refused.\n\n"
     "`opsm help config` lists the keys.\n"},
    {"sft", "CONFIG.yaml [key.path=value ...]", "supervised warm start on solutions",
     "Trains by cross-entropy on a built-in task's worked-out solutions, or on prompt and answer of a JSON-lines "
     "file.\n"
     "Same configuration file as train; sft.steps and sft.batch set its length.\n"},
    {"lab", "LAB.yaml [key.path=value ...]", "arms x seeds of train: what collapses, what holds",
     "Trains every arm with every seed from one starting model, as processes side by side, and compares them at equal\n"
     "numbers of optimiser steps. Ends in a table, a verdict that follows from intervals over seeds, OUTPUT/lab.json\n"
     "and OUTPUT/report.html. The same command goes on where a laboratory stopped. A run that fails is a result.\n\n"
     "The file is a configuration (the base) with a section `lab`; words of the command line change the base.\n\n"
     "  lab.arms             map of arms: name and the keys that differ from the base (null: the default again); "
     "without train.iterations an "
     "arm\n"
     "                       gets as many as make the base's number of optimiser steps\n"
     "  lab.seeds            list of seeds, or a number n for 1 to n\n"
     "  lab.base             configuration file that is loaded first\n"
     "  lab.jobs             processes side by side (default: one a core)\n"
     "  lab.reference        arm that the verdict compares with (default: the highest mean)\n"
     "  lab.final            share of the rounds at the end that `final` averages (default 1/3)\n"
     "  lab.collapse         {below: 0.5, window: 1/3}: collapsed is a reward below `below` x the running best in "
     "every\n"
     "                       round of the last `window`, or a weight that is not finite\n"
     "  lab.start            keys of a warm start (`opsm sft`) that makes the starting model, OUTPUT/start/model.gguf\n"
     "                       unless it names another output; reused when it is there\n"
     "  lab.expect           map of arms: {held_above: 0.9} or {held_below: 0.5}, the mean over seeds of final / "
     "best;\n"
     "                       exit code 1 when an arm does not keep it\n\n"
     "docs/lab.md shows how to write and read one.\n"},
    {"eval", "MODEL|RUN [--task NAME | --data FILE] [options]", "accuracy and pass@k with 95% intervals",
     "Right is a response that the first verifier judges 1. A RUN is judged as its configuration says, with its "
     "template\n"
     "and system message; without --task or --data it is asked the problems that it holds out. Of a dataset every row\n"
     "is asked, of a task eval.problems of them, unless -n says otherwise. Options win over the configuration.\n\n"
     "RUN is the output directory of a run: its model.gguf or, before there is one, the weights of its newest\n"
     "checkpoint; RUN/checkpoint-N names one of them.\n\n"
     "  --task NAME          built-in task\n"
     "  --difficulty N       what the task makes of it (default 0: the task's own)\n"
     "  --style bare|words   how its problems are put (default auto: words where the model has a chat template)\n"
     "  --data FILE          JSON lines: all rows of it\n"
     "  --prompt FIELD       field with the prompt (default: messages or prompt)\n"
     "  --answer FIELD       field with the answer (default answer)\n"
     "  --on-bad-row stop|skip  rows that cannot be used: end, or leave out and count (default stop)\n"
     "  --config FILE        configuration to follow (default: the run's own)\n"
     "  --verifier TYPE      judge with this one alone (default: the configuration's, or what suits the answers)\n"
     "  --template chat|plain|auto  the model's chat template (default auto: where it has one)\n"
     "  --system TEXT        system message (default: none of our own)\n"
     "  --train-split        the problems that are trained on instead of the held-out ones\n"
     "  -n N                 the first N problems only (default: all rows; 128 of a task)\n"
     "  --samples K          responses per problem (default 1)\n"
     "  --temperature X      sampling temperature (default 0: greedy)\n"
     "  --top-p X            keep the smallest set of tokens with this probability (default 1: off)\n"
     "  --max-tokens N       longest response, in tokens (default 256, at most half of the context)\n"
     "  --max-prompt N       longest prompt, in tokens (default: what the context has room for)\n"
     "  --stop TEXT          end at this text; may be given several times (default: none)\n"
     "  --in-flight N        sequences decoded side by side (default 64)\n"
     "  --seed N             seed of problems and sampling (default 1)\n"
     "  --precision f32|bf16  GEMM inputs (default bf16)\n"
     "  --json               one JSON object instead of text\n"},
    {"generate", "MODEL|RUN -p TEXT [options]", "sample from a model",
     "RUN is the output directory of a run: its model.gguf or, before there is one, the weights of its newest\n"
     "checkpoint; RUN/checkpoint-N names one of them.\n\n"
     "  -p TEXT              prompt\n"
     "  -n N                 samples (default 1)\n"
     "  --chat               put the prompt into the model's chat template\n"
     "  --system TEXT        with --chat: system message (default: the template's own)\n"
     "  --temperature X      sampling temperature; 0: greedy (default 1)\n"
     "  --top-p X            keep the smallest set of tokens with this probability (default 1: off)\n"
     "  --top-k N            keep the N likeliest tokens (default 0: all)\n"
     "  --min-p X            keep tokens at least X times as likely as the likeliest (default 0: all)\n"
     "  --max-tokens N       longest response, in tokens (default 256)\n"
     "  --stop TEXT          end at this text; may be given several times (default: none)\n"
     "  --seed N             seed of sampling (default 1)\n"
     "  --in-flight N        samples decoded side by side (default 64)\n"
     "  --precision f32|bf16  GEMM inputs (default bf16)\n"
     "  --jsonl              one object per sample with token ids and log-probs\n"},
    {"render", "MODEL|RUN | --template FILE.jinja [options] < CONVERSATION", "the prompt that a conversation becomes",
     "Runs the chat template of a model, or of a file, on one JSON object from stdin, and writes the text and nothing "
     "else:\n\n"
     "    {\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"tools\": [],\n"
     "     \"add_generation_prompt\": true, \"args\": {\"enable_thinking\": false}}\n\n"
     "Only `messages` must be there. Its objects have whatever fields the template reads: tool_calls, "
     "reasoning_content. `add_generation_prompt` (default true) opens the answer; `args` are further variables.\n\n"
     "  --template FILE      this template instead of the model's own\n"
     "  --bos TEXT           what bos_token stands for (default: the model's, or nothing)\n"
     "  --eos TEXT           what eos_token stands for (default: the model's, or nothing)\n"
     "  --ids                the tokens, a JSON list, instead of the text. Control tokens written in messages or "
     "tools\n"
     "                       stay text\n\n"
     "The date that a template may ask for is always the 26th of July 2024, so that a run can be repeated.\n"},
    {"reward", "[CONFIG.yaml | --verifier TYPE] [setting=value ...] [FILE.jsonl]",
     "judge recorded responses exactly as training would",
     "Reads one response a line from FILE, or from standard input, and writes one verdict a line, in order:\n\n"
     "    {\"response\": \"so it is 12\", \"answer\": \"12\"}\n"
     "    {\"reward\": 1.0, \"rewards\": {\"numeric\": 1.0}, \"found\": \"12\",\n"
     "     \"unjudged\": null}\n\n"
     "`answer` is a text, a number, or a list of accepted ones; verifiers of puzzles read `numbers` and `target`. "
     "`finished` is false for a response that was cut off (default true); `prompt` and other fields may be there.\n\n"
     "`found` is what the first verifier took as the answer, right or wrong; null where it found none. `unjudged` is a "
     "sentence where there is no verdict: no answer to compare with, say. That is never a 0. A faulty line ends it "
     "with a sentence that names the line and exit code 1, after the verdicts of all lines before it. Blank lines are "
     "passed over.\n\n"
     "CONFIG.yaml judges by its reward:, or by what training would choose without one; data.answer and data.prompt "
     "name "
     "the fields. Words key.path=value change it, as for train.\n\n"
     "  --verifier TYPE      judge by this verifier alone (`opsm help verifiers`); words like pattern=TEXT are its\n"
     "                       settings\n"
     "  --answer FIELD       field, or path a.b, with the answer (default: data.answer, or answer)\n"
     "  --prompt FIELD       field with the prompt (default: data.prompt, or prompt)\n"},
    {"score", "MODEL|RUN [options] < TEXT", "log-prob of every token of a text",
     "Reads text on stdin; writes one line per token: id, piece, log-prob in nats; the last line has the number of\n"
     "tokens, the mean and the perplexity. Nothing predicts the first token: it has no log-prob.\n\n"
     "  --jsonl              one JSON object per line: id, piece, logp; last: tokens, mean_nats, perplexity\n"
     "  --precision f32|bf16  GEMM inputs (default bf16)\n"
     "  --context N          tokens of a window (default: the model's context, at most 8192); longer texts are scored\n"
     "                       in windows that overlap by half\n"},
    {"info", "MODEL|RUN [--tensors]", "what a model file holds and what opsm can do with it; how far a run has got",
     "Of a model: architecture, sizes, tokenizer, chat template, number formats, and the memory it takes to generate "
     "and "
     "to train at the defaults. Of RUN, the output directory of a "
     "run: iterations done, its last numbers, checkpoints, the keys of its configuration that are not the default, "
     "and its model.\n\n"
     "  --tensors            list every tensor\n"},
    {"convert", "IN OUT [--type f32|f16|bf16|q8_0|q4_k_m]",
     "a model from GGUF to Hugging Face, back, or in another type",
     "IN is a GGUF file, a Hugging Face directory or that of a run. OUT is written as GGUF where its name ends in "
     ".gguf, "
     "else as a Hugging Face directory: safetensors of at most 5 GB, config.json, generation_config.json, "
     "tokenizer.json "
     "and tokenizer_config.json with the chat template. OUT must not be there, and appears when it is complete.\n\n"
     "  --type TYPE          of the matrices; norms and biases are f32. q8_0 and q4_k_m are for GGUF only. Without it\n"
     "                       matrices stay as they are stored; those in blocks (q8_0, q4_k_m ...) become bf16 in a\n"
     "                       directory\n\n"
     "Architectures: LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, with byte-level BPE. docs/models.md has "
     "what "
     "is read, and what is refused.\n"},
    {"audit", "ROLLOUTS.jsonl [--delta D ...] [--json] [--gradient] [key=value ...]",
     "what the objective and the mask do to recorded rollouts",
     "Reads rollouts of any trainer, one sequence a line, and reports drift by sign of the advantage, what each\n"
     "threshold would drop, loss and gradient, and what follows from them. '-' reads stdin. What looks wrong with the\n"
     "rollouts themselves stands first, with what to do: log-probs that are missing, copied, shifted, of other "
     "tokens,\n"
     "at another temperature, renormalised or penalised; truncated rows; groups without signal.\n\n"
     "  --delta D            a candidate threshold; may be given several times. A single one, without mask.delta=, is\n"
     "                       also the threshold in force (default: mask.policy auto, as in train)\n"
     "  --json               one JSON object: sequences, loss, metrics, thresholds, advice, findings\n"
     "  --gradient           with --json: d loss / d logp_current of every token\n\n"
     "Keys are those of `objective:` without the prefix, e.g. mask.delta=0.3 surrogate.name=is. docs/audit.md shows "
     "how\n"
     "to write such a file from TRL, verl, slime and OpenRLHF.\n"},
    {"report", "RUN|LAB [RUN ...] -o FILE.html", "one self-contained HTML page about runs or a laboratory",
     "Of a single run first from what to what, with intervals, how long and how fast. Charts of reward and of each\n"
     "verifier, held-out accuracy, response length, drift by sign of the advantage, dropped share, threshold, trust "
     "and\n"
     "learning rate in force, entropy, gradient norm and effective sample size over optimiser steps; a histogram of\n"
     "drift; held-out problems before and after; what differs between the configurations; transcripts with what was\n"
     "masked and why; a laboratory's table and verdict.\n\n"
     "  -o, --output FILE.html  the page: one file, which loads nothing from anywhere\n\n"
     "RUN is the output directory of `opsm train` or `opsm sft`, LAB that of `opsm lab`. Runs that differ in seed and\n"
     "output only are drawn as one arm: the mean of its seeds, and a band from the lowest to the highest of them.\n"
     "docs/report.md explains the page.\n"},
    {"bench", "gemm|generate|train|objective [MODEL] [options] [key=value ...]",
     "throughput and share of the machine's ceiling",
     "Measures tokens a second of generation or training, the products of a model's shapes, or the objective alone, "
     "each beside what this machine can do, measured in the same run. MODEL is a GGUF file, a Hugging Face directory "
     "or that of a run; "
     "gemm without it measures the ceiling alone, objective takes keys of the objective instead.\n\n"
     "  --prompt N           generate, train: tokens of a prompt (default 48, less where the context is short)\n"
     "  --tokens N           generate, train: tokens of a response (default 64, less where the context is short)\n"
     "  --in-flight N        generate: sequences decoded side by side (default 64)\n"
     "  --groups N           train: prompts (default 4)\n"
     "  --group N            train: responses per prompt (default 8)\n"
     "  --rows N             gemm: rows that go through a matrix (default 2048)\n"
     "  --length N           objective: tokens of a sequence (default 512)\n"
     "  --sequences N        objective: sequences (default 512)\n"
     "  --repeats N          objective: measurements, of which the median counts (default 21)\n"
     "  --seconds X          gemm, generate, train: how long to measure, about (default 5)\n"
     "  --precision f32|bf16  gemm, generate, train: GEMM inputs (default bf16)\n"
     "  --json               one JSON object instead of text\n"},
};

enum { N_TEXTS = sizeof texts / sizeof *texts };

static const char *const commands[] = {
#define CLI_NAME(name) #name,
    CLI_COMMANDS(CLI_NAME)
#undef CLI_NAME
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

const struct cli_text *cli_help_at(int i) {
    return i < N_TEXTS ? &texts[i] : NULL;
}

const char *cli_command_at(int i) {
    return i < N_COMMANDS ? commands[i] : NULL;
}

const struct cli_text *cli_help_text(const char *name) {
    for (int i = 0; i < N_TEXTS; i++)
        if (!strcmp(texts[i].name, name)) return &texts[i];
    return NULL;
}

bool cli_is_command(const char *name) {
    for (int i = 0; i < N_COMMANDS; i++)
        if (!strcmp(commands[i], name)) return true;
    return false;
}

int cli_unknown_name(const char *what, const char *word, bool topics) {
    const char *names[N_TEXTS];
    size_t n = 0;
    for (int i = 0; i < N_TEXTS; i++)
        if (topics || cli_is_command(texts[i].name)) names[n++] = texts[i].name;
    const char *nearest = text_nearest(word, names, n);
    fprintf(stderr, "opsm: unknown %s '%s'", what, word);
    if (nearest)
        fprintf(stderr, "; did you mean '%s'?\n", nearest);
    else
        fputs("; `opsm help` lists them\n", stderr);
    return 2;
}
