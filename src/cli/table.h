/* Columns of text on stdout: the first flush left, the others flush right unless the table says
 * otherwise. On a terminal that is too narrow, optional columns are left out, a last column of
 * words goes on in the next line, and the first column is shortened in its middle; elsewhere
 * everything stands as it is, for scripts. */
#ifndef QF_CLI_TABLE_H
#define QF_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TABLE_COLUMNS = 8, ALL_COLUMNS = (1 << TABLE_COLUMNS) - 1 };

typedef struct table {
    unsigned left;     /* bit i: column i is flush left, as words are; column 0 always is */
    unsigned optional; /* bits of the columns to do without, the lowest first */
    int room;          /* columns of the screen; 0: those of the terminal, if stdout is one */
    int columns;
    int filled; /* cells of the last row */
    size_t rows, capacity;
    char *(*cells)[TABLE_COLUMNS];
    bool failed; /* memory ran out; printing says so, and the program's exit code */
} table;

/* The values of one row, each made with printf; the first row is the head. */
void table_row(table *table, int columns, ...); /* columns times const char * */
/* The same a cell at a time. */
void table_start_row(table *table, const char *first);
void table_add(table *table, const char *text);
void table_print(const table *table);
void table_release(table *table);
bool table_was_incomplete(void); /* one that was printed */

/* A short-lived string for table_row(): one of eight buffers, reused in turn. */
const char *cell(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* 1234567 → "1,234,567"; nothing for 0, so that the table shows what matters. */
const char *grouped(uint64_t number);

#endif
