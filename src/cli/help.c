/* SPDX-License-Identifier: Apache-2.0
 *
 * The text of every subcommand, once: `opsm help NAME` prints it, `opsm help --man NAME` makes the man page of it.
 */
#include "cli/cli.h"
#include "train/config.h"
#include <ctype.h>
#include <string.h>

static const struct cli_text texts[] = {
    {"help", "[COMMAND | config]", "this overview, a command's help, or the keys of a configuration",
     "`opsm help --man COMMAND` writes the same text as a man page.\n"},
    {"config", "", "keys of a configuration file", NULL},
    {"train", "CONFIG.yaml [key.path=value ...]", "post-train a model by reinforcement learning",
     "Generates answers in groups, scores them, and takes several optimiser steps on each batch under the configured\n"
     "objective and mask. Writes metrics.jsonl, config.yaml, checkpoints and model.gguf to `output`.\n\n"
     "Run the same command again to go on where a run stopped: with the same configuration it resumes from the last\n"
     "complete checkpoint, bit-identical to a run that was never interrupted. SIGINT and SIGTERM finish the step, "
     "save\n"
     "and exit with 130.\n\n"
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
     "  lab.arms             map of arms: name and the keys that differ from the base; without train.iterations an "
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
    {"eval", "MODEL (--task NAME | --data FILE) [options]", "accuracy and pass@k with 95% intervals",
     "  --task NAME          built-in task; --difficulty N, --style bare|words\n"
     "  --data FILE          JSON lines; --prompt FIELD, --answer FIELD\n"
     "  -n N                 problems (default 128)\n"
     "  --samples K          responses per problem (default 1)\n"
     "  --temperature X      0: greedy (default)\n"
     "  --max-tokens N       longest response\n"
     "  --precision f32|bf16 GEMM inputs (default bf16)\n"
     "  --seed N             seed of problems and sampling\n"
     "  --json               one JSON object instead of text\n"},
    {"generate", "MODEL|RUN -p TEXT [options]", "sample from a model",
     "RUN is the output directory of a run: its model.gguf or, before there is one, the weights of its newest\n"
     "checkpoint; RUN/checkpoint-N names one of them.\n\n"
     "  -p TEXT              prompt\n"
     "  -n N                 samples (default 1)\n"
     "  --chat               put the prompt into the model's chat template; --system TEXT: its system message\n"
     "  --temperature X, --top-p X, --top-k N, --min-p X\n"
     "  --max-tokens N       longest response (default 256)\n"
     "  --stop TEXT          end at this text; may be given several times\n"
     "  --seed N             seed of sampling\n"
     "  --precision f32|bf16 GEMM inputs (default bf16)\n"
     "  --jsonl              one object per sample with token ids and log-probs\n"},
    {"score", "MODEL|RUN [options] < TEXT", "log-prob of every token of a text",
     "Reads text on stdin; writes one line per token: id, piece, log-prob in nats; the last line has the number of\n"
     "tokens, the mean and the perplexity. Nothing predicts the first token: it has no log-prob.\n\n"
     "  --jsonl              one JSON object per line: id, piece, logp; last: tokens, mean_nats, perplexity\n"
     "  --precision f32|bf16 GEMM inputs (default bf16)\n"
     "  --context N          tokens of a window (default: the model's context, at most 8192); longer texts are scored\n"
     "                       in windows that overlap by half\n"},
    {"info", "MODEL [--tensors]", "what a model file holds and what opsm can do with it",
     "Architecture, sizes, tokenizer, chat template, number formats; --tensors lists every tensor.\n"},
    {"audit", "ROLLOUTS.jsonl [--delta D ...] [--json] [--gradient] [key=value ...]",
     "what the objective and the mask do to recorded rollouts",
     "Reads rollouts of any trainer, one sequence a line, and reports drift by sign of the advantage, what each\n"
     "threshold would drop, loss and gradient, and what follows from them. '-' reads stdin.\n\n"
     "  --delta D            a candidate threshold; may be given several times. A single one, without mask.delta=, is\n"
     "                       also the threshold in force\n"
     "  --json               one JSON object: sequences, loss, metrics, thresholds, advice\n"
     "  --gradient           with --json: d loss / d logp_current of every token\n\n"
     "Keys are those of `objective:` without the prefix, e.g. mask.delta=0.3 surrogate.name=is. docs/audit.md shows "
     "how\n"
     "to write such a file from TRL, verl, slime and OpenRLHF.\n"},
    {"report", "RUN|LAB [RUN ...] -o FILE.html", "one self-contained HTML page about runs or a laboratory",
     "Charts of reward, held-out accuracy, drift by sign of the advantage, dropped share, entropy, gradient norm and\n"
     "effective sample size over optimiser steps; a histogram of drift with the threshold; what differs between the\n"
     "configurations; transcripts with what was masked and why; a laboratory's table and verdict.\n\n"
     "  -o FILE.html         the page: one file, which loads nothing from anywhere\n\n"
     "RUN is the output directory of `opsm train` or `opsm sft`, LAB that of `opsm lab`. Runs that differ in seed and\n"
     "output only are drawn as one arm: the mean of its seeds, and a band from the lowest to the highest of them.\n"
     "docs/report.md explains the page.\n"},
    {"bench", "[gemm | generate | train | objective] MODEL [--json]", "throughput and share of the machine's ceiling",
     "Measures tokens a second of generation or training, or the GEMM ceiling of this machine, in one run.\n"},
};

const struct cli_text *cli_help_text(const char *name) {
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!strcmp(texts[i].name, name)) return &texts[i];
    return NULL;
}

void cli_print_help(const struct cli_text *text, FILE *out) {
    if (!text->text) {
        config_help(out);
        return;
    }
    fprintf(out, "opsm %s: %s\n\nusage: opsm %s %s\n\n%s", text->name, text->summary, text->name, text->synopsis,
            text->text);
}

/* roff: a line that begins with a dot or quote would be a request, a backslash an escape. */
static void print_roff(const char *text, FILE *out) {
    for (bool start = true; *text; start = *text == '\n', text++) {
        if (start && (*text == '.' || *text == '\'')) fputs("\\&", out);
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            putc(*text, out);
    }
}

void cli_print_man(const struct cli_text *text, FILE *out) {
    fprintf(out, ".TH OPSM\\-");
    for (const char *c = text->name; *c; c++) putc(toupper((unsigned char)*c), out);
    fprintf(out, " 1 \"\" \"opsm " OPSM_VERSION "\"\n.SH NAME\nopsm\\-%s \\- ", text->name);
    print_roff(text->summary, out);
    fprintf(out, "\n.SH SYNOPSIS\n.B opsm %s\n", text->name);
    print_roff(text->synopsis, out);
    fputs("\n.SH DESCRIPTION\n.nf\n", out);
    if (text->text)
        print_roff(text->text, out);
    else
        config_help(out);
    fputs("\n.fi\n.SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage or configuration, 3 diverged (train and sft), "
          "130 interrupted (state saved).\n",
          out);
}
