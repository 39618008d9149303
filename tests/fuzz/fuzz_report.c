/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of `opsm report`: metrics.jsonl, config.yaml, samples.jsonl and lab.json of a run in a laboratory,
 * parted by the byte 1; without the last one the run alone. Any bytes give a sentence or a page whose data is JSON that
 * cannot leave its element.
 */
#include "base/file.h"
#include "base/mem.h"
#include "report/html.h"
#include "report/html_assets.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ASSET(text)                                                                                                    \
    { (const unsigned char *)(text), sizeof(text) - 1 }
const struct html_asset html_page = ASSET("@DATA@"), html_style = ASSET(""), html_script = ASSET(""),
                        html_chart = ASSET(""), html_license = ASSET("");

static char lab[64];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

static void remove_lab(void) {
    file_remove_tree(lab, NULL);
}

/* In memory where there is such a place: a page is made durable, which a disk would not do thousands of times a second.
 */
static void make_lab(void) {
    char run[96];
    snprintf(lab, sizeof lab, "%s/opsm-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    require(mkdtemp(lab) != NULL, "a directory");
    snprintf(run, sizeof run, "%s/m/seed-1", lab);
    require(file_make_dirs(run, NULL) == OPSM_OK, "a run");
    atexit(remove_lab);
}

static void check_page(const char *path) {
    char *page;
    size_t size;
    require(file_read(path, (size_t)1 << 28, &page, &size, NULL) == OPSM_OK, "the page is there");
    require(memchr(page, '<', size) == NULL, "no element begins in the data");
    json_t *json = json_loadb(page, size, 0, NULL);
    require(json_is_object(json), "the data is JSON");
    json_decref(json);
    mem_free(page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"m/seed-1/metrics.jsonl", "m/seed-1/config.yaml", "m/seed-1/samples.jsonl",
                                        "lab.json"};
    char path[128], run[96];
    if (!lab[0]) make_lab();
    for (int i = 0; i < 4; i++) {
        const uint8_t *end = i < 3 && size ? memchr(data, 1, size) : NULL;
        size_t length = end ? (size_t)(end - data) : size;
        snprintf(path, sizeof path, "%s/%s", lab, names[i]);
        unlink(path);
        if (length) {
            FILE *file = fopen(path, "wb");
            require(file && fwrite(data, 1, length, file) == length && fclose(file) == 0, "a file");
        }
        data += length + (end != NULL);
        size -= length + (end != NULL);
    }
    snprintf(run, sizeof run, "%s/m/seed-1", lab);
    bool whole = file_exists(path);
    snprintf(path, sizeof path, "%s/page.html", lab);
    unlink(path);
    opsm_error err = {0};
    opsm_status status = report_write(&(const char *){whole ? lab : run}, 1, path, &err);
    require(status == OPSM_OK || status == OPSM_MISSING || status == OPSM_FORMAT || status == OPSM_IO, "a status");
    require((status == OPSM_OK) == file_exists(path) && (status == OPSM_OK) == !err.text[0], "a page or a sentence");
    if (status == OPSM_OK) check_page(path);
    return 0;
}
