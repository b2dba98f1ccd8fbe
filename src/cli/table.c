/* Laying out columns of text for the width of the terminal. */
#include "cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

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

void table_start_row(table *table, const char *first)
{
    if (table->rows == table->capacity) {
        size_t capacity = table->capacity ? 2 * table->capacity : 16;
        void *grown = realloc(table->cells, capacity * sizeof *table->cells);
        if (!grown) {
            table->failed = true;
            table->filled = TABLE_COLUMNS;
            return;
        }
        table->cells = grown;
        table->capacity = capacity;
    }
    memset(table->cells[table->rows++], 0, sizeof *table->cells);
    table->filled = 0;
    table_add(table, first);
}

void table_add(table *table, const char *text)
{
    if (table->rows == 0 || table->filled == TABLE_COLUMNS)
        return;
    char **place = &table->cells[table->rows - 1][table->filled++];
    if (!(*place = strdup(text)))
        table->failed = true;
    if (table->filled > table->columns)
        table->columns = table->filled;
}

void table_row(table *table, int columns, ...)
{
    va_list arguments;
    va_start(arguments, columns);
    table_start_row(table, va_arg(arguments, const char *));
    for (int i = 1; i < columns; i++)
        table_add(table, va_arg(arguments, const char *));
    va_end(arguments);
}

static const char *text_at(const table *table, size_t row, int column)
{
    const char *text = table->cells[row][column];
    return text ? text : "";
}

enum { GAP = 2, FIRST_LEAST = 12, WORDS_LEAST = 18 };

/* How a table is laid out. */
typedef struct layout {
    int width[TABLE_COLUMNS]; /* 0: left out */
    int start[TABLE_COLUMNS];
    int total;
} layout;

static void place(const table *table, layout *l)
{
    l->total = 0;
    for (int column = 0; column < table->columns; column++) {
        l->start[column] = l->total + (l->total ? GAP : 0);
        if (l->width[column])
            l->total = l->start[column] + l->width[column];
    }
}

static bool is_words(const table *table, int column)
{
    return column > 0 && table->left >> column & 1;
}

/* The width that cannot be had without leaving a column out: words can go on in the next line. */
static int least_total(const table *table, const layout *l)
{
    const int last = table->columns - 1;
    return is_words(table, last) && l->width[last] > WORDS_LEAST ? l->start[last] + WORDS_LEAST
                                                                 : l->total;
}

/* Take away what the screen has no room for: `room` columns, or 0 for as many as there are. */
static void fit(const table *table, int room, layout *l)
{
    const int last = table->columns - 1;
    place(table, l);
    for (int column = 1; room && column < table->columns; column++)
        if (table->optional >> column & 1 && least_total(table, l) > room) {
            l->width[column] = 0;
            place(table, l);
        }
    if (room && l->total > room && is_words(table, last)) {
        const int left = room - l->start[last];
        l->width[last] = left > WORDS_LEAST ? left : WORDS_LEAST;
        place(table, l);
    }
    if (room && l->total > room) {
        const int left = l->width[0] - (l->total - room),
                  least = l->width[0] < FIRST_LEAST ? l->width[0] : FIRST_LEAST;
        l->width[0] = left > least ? left : least;
        place(table, l);
    }
}

static int room_of(const table *table)
{
    struct winsize size;
    if (table->room)
        return table->room;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : 0;
}

/* "inception_3a/3x3_reduce" → "incept...reduce" */
static void print_first(const char *text, int width)
{
    const int length = (int)strlen(text);
    if (length <= width) {
        printf("%-*s", width, text);
        return;
    }
    const int tail = (width - 3) / 2, head = width - 3 - tail;
    printf("%.*s...%s", head, text, text + length - tail);
}

/* Words from `start` on, in lines of `width`. */
static void print_words(const char *text, int start, int width)
{
    while ((int)strlen(text) > width) {
        int cut = width;
        while (cut > 0 && text[cut] != ' ')
            cut--;
        if (cut == 0)
            cut = width;
        printf("%.*s\n%*s", cut, text, start, "");
        text += cut;
        while (*text == ' ')
            text++;
    }
    fputs(text, stdout);
}

static void print_row(const table *table, const layout *l, size_t row)
{
    print_first(text_at(table, row, 0), l->width[0]);
    for (int column = 1; column < table->columns; column++) {
        const char *text = text_at(table, row, column);
        if (l->width[column] == 0)
            continue;
        printf("%*s", GAP, "");
        if (!is_words(table, column))
            printf("%*s", l->width[column], text);
        else if (column + 1 == table->columns)
            print_words(text, l->start[column], l->width[column]);
        else
            printf("%-*s", l->width[column], text);
    }
    putchar('\n');
}

static bool incomplete; /* what was printed cannot be taken back: the exit code tells */

bool table_was_incomplete(void)
{
    return incomplete;
}

void table_print(const table *table)
{
    layout l = {0};
    for (int column = 0; column < table->columns; column++)
        for (size_t row = 0; row < table->rows; row++) {
            int length = (int)strlen(text_at(table, row, column));
            l.width[column] = length > l.width[column] ? length : l.width[column];
        }
    fit(table, room_of(table), &l);
    for (size_t row = 0; row < table->rows; row++) {
        print_row(table, &l, row);
        if (row == 0) {
            for (int i = 0; i < l.total; i++)
                putchar('-');
            putchar('\n');
        }
    }
    if (table->failed) {
        puts("(the table is incomplete: memory ran out)");
        incomplete = true;
    }
}

void table_release(table *table)
{
    for (size_t row = 0; row < table->rows; row++)
        for (int column = 0; column < TABLE_COLUMNS; column++)
            free(table->cells[row][column]);
    free(table->cells);
    *table = (struct table){0};
}

const char *grouped(uint64_t number)
{
    char digits[32], out[48];
    size_t length = (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    size_t at = 0;
    for (size_t i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return number ? cell("%s", out) : "";
}
