/* SPDX-License-Identifier: Apache-2.0 */
#include "data/problem.h"
#include "base/mem.h"
#include <string.h>

const char *data_split_name(enum data_split split) {
    return split == DATA_TRAIN ? "train" : "eval";
}

static size_t text_size(const char *text) {
    return text ? strlen(text) + 1 : 1;
}

/* Copies one text to *cursor and moves it on. */
static const char *put_text(char **cursor, const char *text) {
    size_t size = text_size(text);
    char *copy = *cursor;
    memcpy(copy, text ? text : "", size);
    *cursor += size;
    return copy;
}

opsm_status problem_copy(struct problem *problem, const struct problem *parts, opsm_error *err) {
    *problem = (struct problem){0};
    const struct chat_message alone = {.role = "user", .content = parts->prompt ? parts->prompt : ""};
    const struct chat_message *from = parts->n_messages > 0 ? parts->messages : &alone;
    int n_messages = parts->n_messages > 0 ? parts->n_messages : 1;
    size_t message_bytes = (size_t)n_messages * sizeof *from;
    size_t number_bytes = (size_t)parts->n_numbers * sizeof *parts->numbers;
    size_t answer_bytes = (size_t)parts->n_more_answers * sizeof *parts->more_answers;
    size_t size = message_bytes + number_bytes + answer_bytes;
    size += text_size(parts->prompt) + text_size(parts->answer) + text_size(parts->solution) + text_size(parts->tools);
    for (int i = 0; i < n_messages; i++) size += text_size(from[i].role) + text_size(from[i].content);
    for (int i = 0; i < parts->n_more_answers; i++) size += text_size(parts->more_answers[i]);

    char *block = mem_alloc(size, 1);
    if (!block) return mem_exhausted(err, "a problem", size);
    /* Messages, numbers and the list of answers first: they need 8-byte alignment, the texts none. */
    struct chat_message *messages = (struct chat_message *)(void *)block;
    int64_t *numbers = (int64_t *)(void *)(block + message_bytes);
    const char **answers = (const char **)(void *)(block + message_bytes + number_bytes);
    char *cursor = block + message_bytes + number_bytes + answer_bytes;
    if (number_bytes) memcpy(numbers, parts->numbers, number_bytes);
    for (int i = 0; i < n_messages; i++) {
        messages[i].role = put_text(&cursor, from[i].role);
        messages[i].content = put_text(&cursor, from[i].content);
    }
    for (int i = 0; i < parts->n_more_answers; i++) answers[i] = put_text(&cursor, parts->more_answers[i]);
    problem->prompt = put_text(&cursor, parts->prompt);
    problem->answer = put_text(&cursor, parts->answer);
    problem->more_answers = parts->n_more_answers ? answers : NULL;
    problem->n_more_answers = parts->n_more_answers;
    problem->solution = put_text(&cursor, parts->solution);
    problem->tools = put_text(&cursor, parts->tools);
    problem->messages = messages;
    problem->n_messages = n_messages;
    problem->numbers = parts->n_numbers ? numbers : NULL;
    problem->n_numbers = parts->n_numbers;
    problem->target = parts->target;
    problem->line = parts->line;
    problem->memory = block;
    return OPSM_OK;
}

void problem_free(struct problem *problem) {
    mem_free(problem->memory);
    *problem = (struct problem){0};
}

/* FNV-1a, then the finaliser of SplitMix64: FNV's high bits alone are poor on short texts. */
static uint64_t content_hash(const unsigned char *bytes, size_t size) {
    uint64_t h = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < size; i++) h = (h ^ bytes[i]) * 0x100000001b3ull;
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ull;
    h = (h ^ h >> 27) * 0x94d049bb133111ebull;
    return h ^ h >> 31;
}

enum data_split problem_split(const void *content, size_t size, double share) {
    double unit = (double)(content_hash(content, size) >> 11) * 0x1p-53; /* [0, 1): share 0 takes none, 1 takes all */
    return unit < share ? DATA_EVAL : DATA_TRAIN;
}
