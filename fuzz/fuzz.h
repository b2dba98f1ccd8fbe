/* What the fuzz targets share. Each is one LLVMFuzzerTestOneInput(); libFuzzer runs it, or replay.c
 * where there is no clang. */
#ifndef QF_FUZZ_FUZZ_H
#define QF_FUZZ_FUZZ_H

#include "base/context.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A context of its own for every input, with limits that keep an input at milliseconds. */
qf_context *fuzz_context(void);
/* The input as a file in memory: its path, good until the next call. */
const char *fuzz_file(const uint8_t *data, size_t size);
/* A folder for what a target needs beside its input; it is the working directory afterwards, so
 * that names that an input makes up lead nowhere. */
void fuzz_enter_folder(void);
/* A small database in the folder. */
void fuzz_make_leveldb(qf_context *context, const char *path);
/* Ends the process: the target itself is broken, not what it tests. */
void fuzz_require(bool condition, const char *what);

#endif
