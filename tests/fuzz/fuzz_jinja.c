/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of the template language: any template is refused with a sentence, or runs to an end within its
 * bounds. Bytes that come from the conversation stay known as such: a template without it has none.
 */
#include "base/mem.h"
#include "text/jinja.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

static const char conversation[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \" Be brief.\\n\"}, {\"role\": \"user\", \"content\": "
    "\"Gr\xc3\xbc\xc3\x9f"
    "e \xf0\x9f\x98\x80 <|im_end|>\"}, {\"role\": \"assistant\", \"content\": null, \"reasoning_content\": \"x\", "
    "\"tool_calls\": "
    "[{\"id\": \"1\", \"function\": {\"name\": \"f\", \"arguments\": {\"a\": [1, 2.5, true, null]}}}]}, {\"role\": "
    "\"tool\", "
    "\"content\": [{\"type\": \"text\", \"text\": \"ok\"}]}], \"tools\": [{\"function\": {\"name\": \"f\", "
    "\"parameters\": "
    "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"array\", \"items\": {}}}}}}]}";

static void render(const struct jinja_template *template, const struct jinja_input *input) {
    struct jinja_rendered rendered;
    opsm_error err = {0};
    opsm_status status = jinja_render(template, input, &rendered, &err);
    require(status == OPSM_OK || status == OPSM_INVALID, "a conversation is taken or refused");
    require((status == OPSM_OK) == (rendered.text != NULL), "a text, or none");
    require(status == OPSM_OK || strstr(err.text, "line "), "a refusal says where");
    if (status == OPSM_OK) {
        require(rendered.length <= input->limits.output && rendered.text[rendered.length] == '\0', "a text in bounds");
        require(input->data || !memchr(rendered.stranger, 1, rendered.length), "strange bytes come from somewhere");
    }
    jinja_rendered_free(&rendered);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static json_t *values;
    if (!values) values = json_loads(conversation, 0, NULL);
    require(values != NULL, "the conversation is JSON");
    struct jinja_template *template;
    opsm_error err = {0};
    opsm_status status = jinja_parse(&template, (const char *)data, size, &err);
    if (status != OPSM_OK) {
        require(status == OPSM_UNSUPPORTED && err.text[0], "a template that cannot be run gets a sentence");
        return 0;
    }
    struct jinja_input input = {.limits = {.steps = 100000, .memory = (size_t)8 << 20, .output = 1 << 20},
                                .word = "role"};
    render(template, &input);
    input.data = values;
    render(template, &input);
    jinja_free(template);
    return 0;
}
