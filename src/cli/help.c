/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/page.h"
#include "cli/topics.h"
#include "config/config.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { SECTION_COMMANDS = 1, SECTION_FILES = 5, SECTION_TOPICS = 7 };

/* Texts that are made from the program's own tables. */
static const struct {
    const char *name;
    void (*print)(FILE *out);
} printers[] = {{"config", topic_config}, {"tasks", topic_tasks}, {"verifiers", topic_verifiers}};

/* ---- for a terminal ---- */

/* The text of a page, mem_free'd by the caller; NULL when out of memory. */
static char *body_of(const struct cli_text *text) {
    if (text->text) return mem_strdup(text->text);
    char *printed = NULL, *copy = NULL;
    size_t size;
    FILE *out = open_memstream(&printed, &size);
    if (!out) return NULL;
    for (size_t i = 0; i < sizeof printers / sizeof *printers; i++)
        if (!strcmp(printers[i].name, text->name)) printers[i].print(out);
    if (fclose(out) == 0) copy = mem_strdup(printed);
    free(printed);
    return copy;
}

static void print_summaries(bool of_commands, struct text *page) {
    const char *name;
    for (int i = 0; of_commands && (name = cli_command_at(i)); i++)
        text_printf(page, "  %-10s  %s\n", name, cli_help_text(name)->summary);
    const struct cli_text *text;
    for (int i = 0; !of_commands && (text = cli_help_at(i)); i++)
        if (!cli_is_command(text->name)) text_printf(page, "  %-10s  %s\n", text->name, text->summary);
}

void cli_print_overview(FILE *out) {
    struct text page = {0};
    text_printf(&page, "opsm " OPSM_VERSION ": %s\n\nusage: opsm [-q | -v] COMMAND [ARGUMENTS]\n\nCommands:\n",
                cli_help_text("opsm")->summary);
    print_summaries(true, &page);
    text_puts(&page, "\nTopics:\n");
    print_summaries(false, &page);
    text_puts(&page, "\n`opsm help NAME` tells more about each of them.\n");
    if (!page.failed) page_print(page.data, out);
    text_free(&page);
}

static void print_help(const struct cli_text *text, const char *body, FILE *out) {
    struct text page = {0};
    text_printf(&page, "%s%s: %s\n\n", cli_is_command(text->name) ? "opsm " : "", text->name, text->summary);
    if (cli_is_command(text->name)) text_printf(&page, "usage: opsm %s %s\n\n", text->name, text->synopsis);
    text_puts(&page, body);
    if (!page.failed) page_print(page.data, out);
    text_free(&page);
}

/* ---- as a man page ---- */

static int section_of(const struct cli_text *text) {
    if (!strcmp(text->name, "config")) return SECTION_FILES;
    return cli_is_command(text->name) || !strcmp(text->name, "opsm") ? SECTION_COMMANDS : SECTION_TOPICS;
}

/* "opsm-train.1" */
static void page_name(const struct cli_text *text, char name[64]) {
    bool whole = !strcmp(text->name, "opsm");
    snprintf(name, 64, "opsm%s%s", whole ? "" : "-", whole ? "" : text->name);
}

static void list_pages(FILE *out) {
    const struct cli_text *text;
    for (int i = 0; (text = cli_help_at(i)); i++) {
        char name[64];
        page_name(text, name);
        fprintf(out, "%s.%d\n", name, section_of(text));
    }
}

static void print_references(const struct cli_text *text, FILE *out) {
    const char *separator = "";
    fputs(".SH SEE ALSO\n", out);
    const struct cli_text *other;
    for (int i = 0; (other = cli_help_at(i)); i++) {
        bool listed = !strcmp(text->name, "opsm") || !strcmp(other->name, "opsm") || !strcmp(other->name, "config");
        char name[64];
        if (other == text || !listed) continue;
        page_name(other, name);
        fprintf(out, "%s.BR ", separator);
        page_print_roff_words(name, strlen(name), out);
        fprintf(out, " (%d)", section_of(other));
        separator = " ,\n";
    }
    putc('\n', out);
}

static void print_man(const struct cli_text *text, const char *body, FILE *out) {
    char name[64], title[64] = "";
    page_name(text, name);
    for (size_t i = 0; name[i]; i++) title[i] = (char)toupper((unsigned char)name[i]);
    fprintf(out, ".TH %s %d \"\" \"opsm " OPSM_VERSION "\" \"opsm\"\n.nh\n.ad l\n.SH NAME\n", title, section_of(text));
    page_print_roff_words(name, strlen(name), out);
    fputs(" \\- ", out);
    page_print_roff_words(text->summary, strlen(text->summary), out);
    if (cli_is_command(text->name)) {
        fprintf(out, "\n.SH SYNOPSIS\n.B opsm %s\n", text->name);
        page_print_roff_words(text->synopsis, strlen(text->synopsis), out);
    }
    fputs("\n.SH DESCRIPTION\n", out);
    page_print_roff(body, out);
    if (cli_is_command(text->name))
        fputs(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage or configuration, 3 a run that diverged (train, sft), "
              "130 interrupted with the state saved, 141 nobody reads the output any more.\n",
              out);
    print_references(text, out);
}

int cmd_help(int argc, char **argv) {
    bool man = argc > 1 && !strcmp(argv[1], "--man");
    const char *name = argc > 1 + man ? argv[1 + man] : NULL;
    if (argc > 2 + man) return cli_usage("help", "one word too many: '%s'", argv[2 + man]);
    if (!name) {
        (man ? list_pages : cli_print_overview)(stdout);
        return 0;
    }
    const struct cli_text *text = cli_help_text(name);
    if (!text) return cli_unknown_name("name", name, true);
    char *body = body_of(text);
    opsm_error err = {0};
    if (!body) return cli_fail(mem_exhausted(&err, "a page", 0), &err);
    (man ? print_man : print_help)(text, body, stdout);
    mem_free(body);
    return 0;
}
