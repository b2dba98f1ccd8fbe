/* Columns of text on stdout: the first flush left, the others flush right unless
 * the table says otherwise. */
#ifndef QF_CLI_TABLE_H
#define QF_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum { TABLE_COLUMNS = 8, ALL_COLUMNS = (1 << TABLE_COLUMNS) - 1 };

typedef struct table {
    unsigned left; /* bit i: column i is flush left, as words are; column 0 always is */
    int columns;
    size_t rows, capacity;
    char *(*cells)[TABLE_COLUMNS];
    bool failed; /* memory ran out; printing says so */
} table;

/* The values of one row, each made with printf; the first row is the head. */
void table_row(table *table, int columns, ...); /* columns times const char * */
void table_print(const table *table);
void table_release(table *table);

/* A short-lived string for table_row(): one of eight buffers, reused in turn. */
const char *cell(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
