/* The log in a file, under the name and with the head that glog gives it. */
#ifndef QF_CLI_LOG_FILE_H
#define QF_CLI_LOG_FILE_H

#include <stdio.h>

/* <folder>/<program>.<host>.<user>.log.INFO.<date>-<time>.<process>, and a link <program>.INFO to
 * it. NULL, with errno, when it cannot be written. Lines are flushed as they come. */
FILE *log_file_open(const char *folder);

#endif
