/* SPDX-License-Identifier: Apache-2.0 */
#include <opsm/objective.h>
#include <stdio.h>

/* Two sampled sequences of two tokens; the second one was a mistake and has drifted by 0.5 nats per token. */
int main(void) {
    const int64_t offsets[] = {0, 2, 4};
    const float behavior[] = {-1.0f, -1.0f, -1.0f, -1.0f}, current[] = {-1.5f, -1.5f, -1.5f, -1.5f};
    const float advantages[] = {1.0f, -1.0f};
    opsm_sequence records[2];
    float gradient[4];
    opsm_error error = {OPSM_OK, ""};
    opsm_objective config;
    opsm_objective_defaults(&config);
    opsm_batch batch;
    opsm_batch_init(&batch);
    batch.n_sequences = 2;
    batch.n_tokens = 4;
    batch.offsets = offsets;
    batch.logp_current = current;
    batch.logp_behavior = behavior;
    batch.advantages = advantages;
    opsm_result result;
    opsm_result_init(&result);
    result.records = records;
    result.dlogp = gradient;
    if (opsm_objective_set(&config, "mask.delta", "0.3", &error) != OPSM_OK ||
        opsm_objective_evaluate(&config, NULL, &batch, NULL, &result, NULL, 0, &error) != OPSM_OK)
        return fprintf(stderr, "%s\n", error.text), 1;
    printf("loss %.6f\n", result.loss);
    for (int i = 0; i < 2; i++)
        printf("sequence %d: drift %.3f, %s, gradient %.6f\n", i, records[i].drift,
               records[i].keep ? "kept" : "dropped", gradient[2 * i]);
    return 0;
}
