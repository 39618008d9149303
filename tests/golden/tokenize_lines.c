/* SPDX-License-Identifier: Apache-2.0
 *
 * Our side of compare_tokenizer.py: tokenize_lines MODEL.gguf [special] [bos] [repeat=N]
 *
 * Reads records "<bytes>\n<text>\n" from stdin, writes one line of ids for each. With repeat=N the whole input is
 * encoded N times and only the time of the fastest round is written, in seconds.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "io/tensor_source.h"
#include "text/tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct record {
    char *text;
    size_t length;
};

static void die(const char *message) {
    fprintf(stderr, "tokenize_lines: %s\n", message);
    exit(1);
}

static struct record *read_records(size_t *count) {
    struct record *records = NULL;
    size_t room = 0, n = 0, length;
    while (scanf("%zu", &length) == 1) {
        if (n == room) {
            room = room ? 2 * room : 1024;
            records = realloc(records, room * sizeof *records);
            if (!records) die("out of memory");
        }
        char *text = malloc(length + 1);
        if (!text || getchar() != '\n' || fread(text, 1, length, stdin) != length) die("a record is cut short");
        records[n++] = (struct record){.text = text, .length = length};
    }
    *count = n;
    return records;
}

static void encode(const struct tokenizer *tokenizer, const struct record *record, unsigned flags,
                   struct token_list *list) {
    opsm_error err = {0};
    list->count = 0;
    if (tokenizer_encode(tokenizer, record->text, record->length, flags, list, &err) != OPSM_OK) die(err.text);
}

int main(int argc, char **argv) {
    if (argc < 2) die("usage: tokenize_lines MODEL.gguf [special] [bos] [repeat=N]");
    unsigned flags = 0;
    int repeat = 0;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "special") == 0) flags |= TOKENIZER_SPECIAL;
        if (strcmp(argv[i], "bos") == 0) flags |= TOKENIZER_BOS;
        if (strncmp(argv[i], "repeat=", 7) == 0) repeat = atoi(argv[i] + 7);
    }
    opsm_error err = {0};
    struct tensor_source *file;
    struct tokenizer *tokenizer;
    if (tensor_source_open(&file, argv[1], &err) != OPSM_OK) die(err.text);
    double start = clock_seconds();
    if (tokenizer_load(&tokenizer, &file->metadata, &err) != OPSM_OK) die(err.text);
    fprintf(stderr, "loaded %d tokens in %.3f s\n", tokenizer_size(tokenizer), clock_seconds() - start);
    tensor_source_close(file);
    size_t count;
    struct record *records = read_records(&count);
    struct token_list list = {0};
    double best = 1e300;
    for (int round = 0; round < repeat; round++) {
        start = clock_seconds();
        for (size_t i = 0; i < count; i++) encode(tokenizer, &records[i], flags, &list);
        double seconds = clock_seconds() - start;
        if (seconds < best) best = seconds;
    }
    if (repeat > 0) printf("%.6f\n", best);
    for (size_t i = 0; i < count; i++) {
        if (repeat == 0) {
            encode(tokenizer, &records[i], flags, &list);
            for (int64_t k = 0; k < list.count; k++) printf(k ? " %d" : "%d", list.ids[k]);
            putchar('\n');
        }
        free(records[i].text);
    }
    free(records);
    token_list_free(&list);
    tokenizer_free(tokenizer);
    return 0;
}
