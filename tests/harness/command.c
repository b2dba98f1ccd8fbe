#include "harness/command.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

char test_output[1 << 18];

static void expect(int code, const char *part, const char *line)
{
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    size_t used = fread(test_output, 1, sizeof test_output - 1, pipe);
    test_output[used] = '\0';
    while (fread((char[4096]){0}, 1, 4096, pipe) > 0)
        continue;
    int found = pclose(pipe);
    assert_true(WIFEXITED(found));
    if (WEXITSTATUS(found) != code || !strstr(test_output, part))
        fail_msg("%s: exit code %d, expected %d with \"%s\" in:\n%s", line, WEXITSTATUS(found),
                 code, part, test_output);
}

void test_command(int code, const char *part, const char *before, const char *arguments)
{
    char *line = test_format("%s exec " QAFFE_COMMAND " %s 2>&1", before, arguments);
    expect(code, part, line);
    qf_free(line);
}

void test_tool(int code, const char *part, const char *line)
{
    char *whole = test_format(QAFFE_CAFFE_HOME "/build/%s 2>&1", line);
    expect(code, part, whole);
    qf_free(whole);
}

void test_write_text(qf_context *context, const char *name, const char *text)
{
    assert_ok(context, qf_file_write(context, name, text, strlen(text), 0644));
}

bool test_file_has(qf_context *context, const char *name, const char *part)
{
    qf_buffer file = {0};
    assert_ok(context, qf_file_read(context, name, &file));
    bool found = strstr(qf_buffer_text(&file), part) != NULL;
    qf_buffer_release(&file);
    return found;
}
