/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of recorded responses (opsm reward). Any bytes give verdicts and, for a faulty line, a sentence with
 * its number: every verdict is one line of JSON with its four fields, there is one for each line read, a null reward
 * has a reason, and what was found is never an empty text.
 */
#include "judge.h"
#include "reward/recorded.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

static void check_line(const char *line, size_t length) {
    json_t *verdict = json_loadb(line, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    const json_t *reward = json_object_get(verdict, "reward"), *why = json_object_get(verdict, "unjudged");
    const json_t *found = json_object_get(verdict, "found");
    require(json_object_size(verdict) == 4, "a verdict is JSON with four fields");
    require(json_object_size(json_object_get(verdict, "rewards")) == 3, "every verifier is named");
    require(json_is_null(reward) ? json_is_string(why) : json_is_real(reward) && json_is_null(why),
            "null has a reason");
    require(json_is_null(found) || json_string_length(found) > 0, "what was found is not empty");
    json_decref(verdict);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct reward *reward;
    opsm_error err = {0};
    const struct verifier_words specs[] = {
        {.type = "numeric", .weight = 1}, {.type = "expression", .weight = 0.5}, {.type = "contains", .weight = -1}};
    if (!reward) require(reward_of(&reward, specs, 3, &err) == OPSM_OK, "the reward is made");
    struct jsonl *lines;
    require(jsonl_open_memory(&lines, data, size, "fuzz", 1 << 20, &err) == OPSM_OK, "memory opens");
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    struct recorded_totals totals;
    const struct dataset_spec fields = {.answer = "truth.text"};
    opsm_status status = recorded_judge(lines, &fields, reward, out, &totals, &err);
    require(fclose(out) == 0, "memory takes the output");
    require(status == OPSM_OK || (status == OPSM_FORMAT && !strncmp(err.text, "'fuzz', line ", 13)),
            "an error names its line");
    int64_t n = 0;
    for (const char *line = text, *end; (size_t)(line - text) < length; line = end + 1, n++) {
        end = memchr(line, '\n', length - (size_t)(line - text));
        require(end != NULL, "a line has an end");
        check_line(line, (size_t)(end - line));
    }
    require(n == totals.responses && totals.unjudged <= n, "one verdict a line");
    free(text);
    jsonl_close(lines);
    return 0;
}
