/* Completion for three shells, from the tables of commands and options. */
#ifndef QF_CLI_COMPLETION_H
#define QF_CLI_COMPLETION_H

#include "cli/command.h"

/* Write a whole script; the second argument is not used. */
void put_bash_completion(FILE *script, const command *ignored);
void put_zsh_completion(FILE *script, const command *ignored);
void put_fish_completion(FILE *script, const command *ignored);

#endif
