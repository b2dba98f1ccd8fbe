/* qaffe inspect --check. */
#ifndef QF_CLI_CHECK_FILES_H
#define QF_CLI_CHECK_FILES_H

#include "cli/command.h"

/* Looks at the files that are the command's words; gives the exit code. */
int check_files(const arguments *arguments);

#endif
