#include "cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *cell(const char *format, ...)
{
    static _Thread_local char buffers[TABLE_COLUMNS][256];
    static _Thread_local int next;
    char *buffer = buffers[next++ % TABLE_COLUMNS];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(buffer, sizeof buffers[0], format, arguments);
    va_end(arguments);
    return buffer;
}

void table_row(table *table, int columns, ...)
{
    if (table->rows == table->capacity) {
        size_t capacity = table->capacity ? 2 * table->capacity : 16;
        void *grown = realloc(table->cells, capacity * sizeof *table->cells);
        if (!grown) {
            table->failed = true;
            return;
        }
        table->cells = grown;
        table->capacity = capacity;
    }
    char **row = table->cells[table->rows++];
    memset(row, 0, sizeof table->cells[0]);
    va_list arguments;
    va_start(arguments, columns);
    for (int i = 0; i < columns; i++)
        if (!(row[i] = strdup(va_arg(arguments, const char *))))
            table->failed = true;
    va_end(arguments);
    if (columns > table->columns)
        table->columns = columns;
}

static const char *text_at(const table *table, size_t row, int column)
{
    const char *text = table->cells[row][column];
    return text ? text : "";
}

void table_print(const table *table)
{
    int width[TABLE_COLUMNS] = {0}, total = 0;
    for (int column = 0; column < table->columns; column++) {
        for (size_t row = 0; row < table->rows; row++) {
            int length = (int)strlen(text_at(table, row, column));
            width[column] = length > width[column] ? length : width[column];
        }
        total += width[column] + (column > 0 ? 2 : 0);
    }
    for (size_t row = 0; row < table->rows; row++) {
        printf("%-*s", width[0], text_at(table, row, 0));
        for (int column = 1; column < table->columns; column++) {
            bool left = table->left >> column & 1, last = column + 1 == table->columns;
            printf("  %*s",
                   !left  ? width[column]
                   : last ? 0
                          : -width[column],
                   text_at(table, row, column));
        }
        putchar('\n');
        if (row == 0) {
            for (int i = 0; i < total; i++)
                putchar('-');
            putchar('\n');
        }
    }
    if (table->failed)
        puts("(the table is incomplete: memory ran out)");
}

void table_release(table *table)
{
    for (size_t row = 0; row < table->rows; row++)
        for (int column = 0; column < TABLE_COLUMNS; column++)
            free(table->cells[row][column]);
    free(table->cells);
    *table = (struct table){0};
}
