/* SPDX-License-Identifier: Apache-2.0
 *
 * opsm audit: what the objective and the mask do to recorded rollouts.
 */
#include "audit/audit.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/spool.h"
#include <math.h>
#include <string.h>

static const double default_deltas[] = {0.001, 0.003, 0.01, 0.03, 0.05, 0.1, 0.3, 0.5};
enum { N_DEFAULT_DELTAS = sizeof default_deltas / sizeof default_deltas[0] };

/* A candidate threshold, checked by the same table as the key mask.delta. */
static opsm_status add_delta(struct audit_options *options, const char *text, opsm_error *err) {
    opsm_objective probe;
    opsm_objective_defaults(&probe);
    opsm_status status = opsm_objective_set(&probe, "mask.delta", text, err);
    if (status != OPSM_OK) return status;
    if (options->n_deltas == AUDIT_DELTAS_MAX)
        return opsm_fail(err, OPSM_INVALID, "--delta: at most %d of them", AUDIT_DELTAS_MAX);
    options->deltas[options->n_deltas++] = probe.mask_delta;
    return OPSM_OK;
}

/* Which of these keys stand on the command line. */
struct named {
    bool delta, policy;
};

/* key=value; the prefix "objective." is allowed, so that a line of a configuration can be pasted. */
static opsm_status set_key(struct audit_options *options, const char *word, struct named *named, opsm_error *err) {
    const char *equals = strchr(word, '=');
    char key[80];
    if (!strncmp(word, "objective.", 10)) word += 10;
    size_t length = (size_t)(equals - word);
    if (length >= sizeof key) return opsm_fail(err, OPSM_INVALID, "unknown objective key \"%.60s...\"", word);
    memcpy(key, word, length);
    key[length] = '\0';
    named->delta |= !strcmp(key, "mask.delta");
    named->policy |= !strcmp(key, "mask.policy") || !strcmp(key, "threshold.policy");
    return opsm_objective_set(&options->config, key, equals + 1, err);
}

static opsm_status unknown_option(const char *word, opsm_error *err) {
    static const char *const names[] = {"--json", "--gradient", "--delta"};
    const char *nearest = text_nearest(word, names, sizeof names / sizeof *names);
    return opsm_fail(err, OPSM_INVALID, "unknown option '%.60s'%s%s%s", word, nearest ? "; did you mean '" : "",
                     nearest ? nearest : "", nearest ? "'?" : "");
}

static opsm_status parse_word(struct audit_options *options, int argc, char **argv, int *i, struct named *named,
                              opsm_error *err) {
    const char *word = argv[*i];
    if (!strcmp(word, "--json")) {
        options->json = true;
    } else if (!strcmp(word, "--gradient")) {
        options->gradient = true;
    } else if (!strcmp(word, "--delta")) {
        if (*i + 1 >= argc) return opsm_fail(err, OPSM_INVALID, "--delta needs a number");
        return add_delta(options, argv[++*i], err);
    } else if (!strncmp(word, "--delta=", 8)) {
        return add_delta(options, word + 8, err);
    } else if (word[0] == '-' && word[1] != '\0') {
        return unknown_option(word, err);
    } else if (!options->path) {
        options->path = word;
    } else if (strchr(word, '=')) {
        return set_key(options, word, named, err);
    } else {
        return opsm_fail(err, OPSM_INVALID, "'%.60s': one file at a time, and keys are written key=value", word);
    }
    return OPSM_OK;
}

static int run_audit(struct audit_options *options) {
    opsm_error err = {0};
    struct spool spool;
    opsm_status status = opsm_objective_check(&options->config, &err);
    if (status != OPSM_OK) return cli_fail(status, &err);
    options->name = !strcmp(options->path, "-") ? "standard input" : options->path;
    status = spool_open(&spool, options->path, &err);
    if (status != OPSM_OK) return cli_fail(status, &err);
    options->path = spool.path;
    status = audit_run(options, stdout, &err);
    spool_close(&spool);
    return status == OPSM_OK ? 0 : cli_fail(status, &err);
}

int cmd_audit(int argc, char **argv) {
    struct audit_options *options = mem_zalloc(1, sizeof *options);
    opsm_error err = {0};
    if (!options) return cli_fail(mem_exhausted(&err, "the options", sizeof *options), &err);
    opsm_objective_defaults(&options->config);
    struct named named = {0};
    opsm_status status = OPSM_OK;
    for (int i = 1; i < argc && status == OPSM_OK; i++) status = parse_word(options, argc, argv, &i, &named, &err);
    int code;
    if (status != OPSM_OK) {
        code = cli_usage("audit", "%s", err.text);
    } else if (!options->path) {
        code = cli_usage("audit", "which file of rollouts?");
    } else {
        /* One candidate and no mask.delta: the candidate is what the person means. */
        if (options->n_deltas == 1 && !named.delta) options->config.mask_delta = options->deltas[0];
        /* As in `train`: the threshold sets itself unless a delta is given. */
        bool masked = options->config.mask_rule != OPSM_RULE_NONE;
        if (masked && !named.policy && !named.delta && options->n_deltas != 1)
            options->config.mask_policy = OPSM_POLICY_AUTO;
        if (options->n_deltas == 0) {
            memcpy(options->deltas, default_deltas, sizeof default_deltas);
            options->n_deltas = N_DEFAULT_DELTAS;
        }
        code = run_audit(options);
    }
    mem_free(options);
    return code;
}
