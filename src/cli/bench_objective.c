/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "base/threads.h"
#include "bench/objective.h"
#include "cli/bench.h"
#include "cli/cli.h"
#include "io/json_writer.h"
#include <string.h>

static bool parse(struct bench_objective *bench, bool *json, int argc, char **argv, opsm_error *err) {
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *equals = strchr(word, '=');
        int64_t *number = !strcmp(word, "--sequences") ? &bench->sequences
                          : !strcmp(word, "--length")  ? &bench->length
                          : !strcmp(word, "--repeats") ? &bench->repeats
                                                       : NULL;
        char key[80];
        if (!strcmp(word, "--json")) {
            *json = true;
        } else if (number) {
            int64_t most = number == &bench->repeats ? BENCH_REPEATS_MAX : 1 << 24;
            if (i + 1 >= argc || !cli_parse_int(argv[++i], 1, most, number)) {
                opsm_fail(err, OPSM_INVALID, "%s needs a whole number from 1 to %lld", word, (long long)most);
                return false;
            }
        } else if (equals && (size_t)(equals - word) < sizeof key) {
            memcpy(key, word, (size_t)(equals - word));
            key[equals - word] = '\0';
            if (opsm_objective_set(&bench->config, key, equals + 1, err) != OPSM_OK) return false;
        } else {
            static const char *const names[] = {"--json", "--sequences", "--length", "--repeats"};
            const char *nearest = text_nearest(word, names, sizeof names / sizeof *names);
            opsm_fail(err, OPSM_INVALID, "unknown option '%.60s'%s%s%s", word, nearest ? "; did you mean '" : "",
                      nearest ? nearest : "", nearest ? "'?" : "");
            return false;
        }
    }
    return opsm_objective_check(&bench->config, err) == OPSM_OK;
}

static opsm_status print_json(const struct bench_objective *bench, opsm_error *err) {
    double n = (double)bench->sequences * (double)bench->length, median = bench->median, copy = bench->copy;
    struct text line = {0};
    struct json_writer json = {.text = &line, .digits = 6};
    json_put_open(&json, NULL, '{');
    json_put_int(&json, "threads", threads_count());
    json_put_int(&json, "sequences", bench->sequences);
    json_put_int(&json, "length", bench->length);
    json_put_int(&json, "repeats", bench->repeats);
    json_put_number(&json, "tokens_per_second", n / median);
    json_put_number(&json, "nanoseconds_per_token", 1e9 * median / n);
    json_put_number(&json, "best_nanoseconds_per_token", 1e9 * bench->best / n);
    json_put_number(&json, "bytes_per_second", bench->bytes / median);
    json_put_number(&json, "memcpy_bytes_per_second", bench->bytes / copy);
    json_put_number(&json, "share_of_memcpy", copy / median);
    json.digits = 9;
    json_put_number(&json, "loss", bench->loss);
    json_put_close(&json, '}');
    json_put_end(&json);
    return cli_print_text(&line, err);
}

static void print_words(const struct bench_objective *bench) {
    double n = (double)bench->sequences * (double)bench->length, median = bench->median, copy = bench->copy;
    printf("%s, rule %s%s: %lld sequences x %lld tokens, %d threads, median of %lld\n",
           opsm_surrogate_name(bench->config.surrogate_name), opsm_rule_name(bench->config.mask_rule),
           bench->config.penalty_beta > 0 ? ", KL penalty" : "", (long long)bench->sequences, (long long)bench->length,
           threads_count(), (long long)bench->repeats);
    printf("  %.1f million tokens/s, %.2f ns per token (best %.2f)\n", n / median / 1e6, 1e9 * median / n,
           1e9 * bench->best / n);
    printf("  %.2f GB/s of log-probs and gradients; memory copy in the same run %.2f GB/s: share %.2f\n",
           bench->bytes / median / 1e9, bench->bytes / copy / 1e9, copy / median);
}

int cli_bench_objective(int argc, char **argv) {
    struct bench_objective bench = {.sequences = 512, .length = 512, .repeats = 21};
    bool json = false;
    opsm_error err = {0};
    opsm_objective_defaults(&bench.config);
    if (!parse(&bench, &json, argc, argv, &err)) return cli_usage("bench", "%s", err.text);
    opsm_status status = bench_objective_run(&bench, &err);
    if (status == OPSM_OK && json)
        status = print_json(&bench, &err);
    else if (status == OPSM_OK)
        print_words(&bench);
    return status == OPSM_OK ? 0 : cli_fail(status, &err);
}
