/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/recorded.h"
#include "base/mem.h"
#include "data/dataset_row.h"
#include "io/json_writer.h"
#include <math.h>
#include <string.h>

enum { CHUNK = 1024 };

/* Lines that are judged together. */
struct chunk {
    int n;
    json_t *rows[CHUNK]; /* own the texts */
    struct row_memory memory[CHUNK];
    struct problem problems[CHUNK];
    struct reward_item items[CHUNK];
    struct verdict verdicts[CHUNK];
    int64_t line[CHUNK];
    struct text out;
};

static void chunk_clear(struct chunk *chunk) {
    for (int i = 0; i < chunk->n; i++) {
        row_memory_free(&chunk->memory[i]);
        json_decref(chunk->rows[i]);
    }
    chunk->n = 0;
    text_clear(&chunk->out);
}

/* ---- in ---------------------------------------------------------------------------------------------------------- */

static opsm_status read_item(struct chunk *chunk, int i, const struct dataset_spec *fields, const struct jsonl *lines,
                             opsm_error *err) {
    const json_t *row = chunk->rows[i], *response = json_object_get(row, "response");
    const json_t *finished = json_object_get(row, "finished");
    if (!response)
        return jsonl_fail(lines, err, OPSM_FORMAT,
                          "field 'response' is missing; a line is like {\"response\": \"..\", \"answer\": \"..\"}");
    if (jsonl_unfit(lines, response))
        return jsonl_fail(lines, err, OPSM_FORMAT,
                          "field 'response' stands there twice, or is no text that can be read");
    if (!json_is_string(response)) return jsonl_fail(lines, err, OPSM_FORMAT, "field 'response' must be a text");
    if (finished && !json_is_boolean(finished) && !json_is_null(finished))
        return jsonl_fail(lines, err, OPSM_FORMAT, "field 'finished' must be true or false");
    const char *prompt = json_string_value(json_object_get(row, fields->prompt ? fields->prompt : "prompt"));
    struct problem *problem = &chunk->problems[i];
    *problem = (struct problem){.prompt = prompt ? prompt : "", .answer = "", .solution = ""};
    chunk->items[i] = (struct reward_item){.problem = problem,
                                           .text = json_string_value(response),
                                           .length = json_string_length(response),
                                           .finished = !json_is_false(finished)};
    return dataset_row_reference(problem, &chunk->memory[i], fields, row, lines, err);
}

/* At least one line, unless there is none, then as many as are there without waiting. */
static opsm_status read_chunk(struct chunk *chunk, const struct dataset_spec *fields, struct jsonl *lines,
                              opsm_error *err) {
    do {
        json_t *row;
        opsm_status status = jsonl_next(lines, &row, err);
        if (status != OPSM_OK || !row) return status;
        int i = chunk->n;
        chunk->rows[i] = row;
        chunk->memory[i] = (struct row_memory){0};
        chunk->line[i] = jsonl_line(lines);
        status = read_item(chunk, i, fields, lines, err);
        if (status != OPSM_OK) {
            row_memory_free(&chunk->memory[i]);
            json_decref(row);
            return status;
        }
        chunk->n++;
    } while (chunk->n < CHUNK && jsonl_ready(lines));
    return OPSM_OK;
}

/* ---- out --------------------------------------------------------------------------------------------------------- */

static void put_verdict(struct text *out, const struct reward *reward, const struct verdict *verdict) {
    struct json_writer json = {.text = out, .spaced = true, .reals = true};
    json_put_open(&json, NULL, '{');
    json_put_number(&json, "reward", verdict->reward);
    json_put_open(&json, "rewards", '{');
    for (int k = 0; k < reward_count(reward); k++) json_put_number(&json, reward_name(reward, k), verdict->scores[k]);
    json_put_close(&json, '}');
    if (verdict->found.length)
        json_put_bytes(&json, "found", verdict->found.at, verdict->found.length);
    else
        json_put_null(&json, "found");
    json_put_string(&json, "unjudged", verdict->unjudged.code != OPSM_OK ? verdict->unjudged.text : NULL);
    json_put_close(&json, '}');
    json_put_end(&json);
}

static void add_verdict(struct recorded_totals *totals, const struct verdict *verdict, int n_scores, int64_t line) {
    totals->responses++;
    if (verdict->unjudged.code != OPSM_OK) {
        if (totals->unjudged++ > 0) return;
        totals->first_line = line;
        snprintf(totals->first_why, sizeof totals->first_why, "%s", verdict->unjudged.text);
        return;
    }
    totals->reward += verdict->reward;
    for (int k = 0; k < n_scores; k++) totals->scores[k] += verdict->scores[k];
}

static opsm_status judge_chunk(struct chunk *chunk, const struct reward *reward, FILE *out,
                               struct recorded_totals *totals, opsm_error *err) {
    reward_judge(reward, chunk->items, chunk->n, chunk->verdicts);
    for (int i = 0; i < chunk->n; i++) {
        put_verdict(&chunk->out, reward, &chunk->verdicts[i]);
        add_verdict(totals, &chunk->verdicts[i], reward_count(reward), chunk->line[i]);
    }
    if (chunk->out.failed) return mem_exhausted(err, "verdicts", chunk->out.room);
    fwrite(chunk->out.data, 1, chunk->out.length, out);
    fflush(out);
    return OPSM_OK;
}

opsm_status recorded_judge(struct jsonl *lines, const struct dataset_spec *fields, const struct reward *reward,
                           FILE *out, struct recorded_totals *totals, opsm_error *err) {
    *totals = (struct recorded_totals){0};
    struct chunk *chunk = mem_zalloc(1, sizeof *chunk);
    if (!chunk) return mem_exhausted(err, "responses to judge", sizeof *chunk);
    jsonl_accept_any_text(lines);
    opsm_status status;
    bool more;
    do {
        status = read_chunk(chunk, fields, lines, err);
        more = chunk->n > 0;
        opsm_status judged = more ? judge_chunk(chunk, reward, out, totals, status == OPSM_OK ? err : NULL) : OPSM_OK;
        if (status == OPSM_OK) status = judged;
        chunk_clear(chunk);
    } while (more && status == OPSM_OK && !ferror(out));
    text_free(&chunk->out);
    mem_free(chunk);
    return status;
}
