/* The programs of this build as a person or a script runs them. */
#ifndef QF_TESTS_COMMAND_H
#define QF_TESTS_COMMAND_H

#include "harness/harness.h"

/* What the last command wrote, both streams. */
extern char test_output[1 << 18];

/* Runs `qaffe <arguments>` after `before` (shell text), and expects the exit code and the text. */
void test_command(int code, const char *part, const char *before, const char *arguments);
/* The same for a program of the folder laid out like a built Caffe: "tools/caffe train ...". */
void test_tool(int code, const char *part, const char *line);

/* A file with this text, written by the context. */
void test_write_text(qf_context *context, const char *name, const char *text);
bool test_file_has(qf_context *context, const char *name, const char *part);

#endif
