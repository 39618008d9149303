/* SPDX-License-Identifier: Apache-2.0
 *
 * Transcripts of a few rollouts for people to read: RUN/samples.jsonl, at the first and the last iteration and at most
 * four in between, and of the first held-out problems at every evaluation. One sequence a line:
 *
 *   {"iteration":0,"group":3,"sample":1,"prompt":"..","response":"..","finish":"end","reward":0.0,"advantage":-0.25,
 *    "drift":0.31,"delta":0.05,"keep":false,"reason":"A < 0 and drift 0.31 > 0.05"}
 *
 *   {"kind":"eval","iteration":0,"step":0,"problem":5,"prompt":"..","response":"..","finish":"end","reward":0.0,
 *    "right":false}
 *
 * drift (nats per token), delta and keep are those of the last optimiser step that used the sequence; null where none
 * measured it. reward and right are null where the response could not be judged. The response is the text that was
 * judged: without end tokens, and without a stop string and what follows. Texts are cut at 4000 bytes. Which sequences:
 * groups in which the mask dropped something first (half of them), then groups with better and worse answers, then the
 * first ones; of a group up to four: two dropped ones, one with A > 0, a kept one with A < 0, one with A = 0, then more
 * of each. Nothing of it is random.
 */
#ifndef OPSM_TRAIN_SAMPLES_H
#define OPSM_TRAIN_SAMPLES_H
#include "config/config.h"
#include "text/tokenizer.h"
#include "train/batch.h"
#include "train/evaluate.h"

bool samples_due(const struct run_config *config, int64_t iteration);

/* Keeps what a step says about sequences ids [n], where the batch has the column for it. */
void samples_note(struct batch *batch, const int32_t *ids, int32_t n, const opsm_sequence *records);

/* Appends the transcripts of a batch that has been trained on. */
opsm_status samples_write(const char *path, const struct run_config *config, const struct tokenizer *tokenizer,
                          int64_t iteration, const struct batch *batch, opsm_error *err);

/* Appends the first sample of each of the first SAMPLES_HELD_OUT problems of an evaluation: the same problems at every
 * evaluation, so that one can be laid beside another. */
enum { SAMPLES_HELD_OUT = 16 };
opsm_status samples_write_eval(const char *path, const struct tokenizer *tokenizer, int64_t iteration, int64_t step,
                               const struct asked *asked, const struct rollouts *rollouts, const float *rewards,
                               const float *scores, int32_t n_scores, opsm_error *err);

/* Why the mask kept or dropped a sequence, in words: what the record says. */
void samples_reason(const opsm_objective *objective, const opsm_sequence *record, char *text, size_t size);

#endif
