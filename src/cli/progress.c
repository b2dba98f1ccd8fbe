/* The live line at a terminal, and the lines now and then elsewhere. */
#include "cli/progress.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_open(progress *progress, bool quiet)
{
    *progress = (struct progress){.red = "", .yellow = "", .plain = ""};
    pthread_mutex_init(&progress->lock, NULL);
    const char *terminal = getenv("TERM");
    progress->live = isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
    progress->plain_lines = !progress->live && quiet;
    const char *no_color = getenv("NO_COLOR"); /* https://no-color.org */
    if (progress->live && (!no_color || !*no_color)) {
        progress->red = "\033[31m";
        progress->yellow = "\033[33m";
        progress->plain = "\033[0m";
    }
}

static void erase(progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
}

/* One short of the width: a full line would wrap on some terminals. */
static int room(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : 79;
}

static void draw(progress *progress)
{
    fprintf(stderr, "\r\033[K%.*s", room(), progress->line);
    fflush(stderr);
    progress->shown = true;
}

void progress_close(progress *progress)
{
    pthread_mutex_lock(&progress->lock);
    erase(progress);
    progress->live = false;
    pthread_mutex_unlock(&progress->lock);
    pthread_mutex_destroy(&progress->lock);
}

void progress_print_above(progress *progress, qf_log_level level, const char *format, ...)
{
    const char *colour = level == QF_WARNING ? progress->yellow
                         : level == QF_ERROR ? progress->red
                                             : "";
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&progress->lock);
    bool redraw = progress->shown;
    erase(progress);
    flockfile(stderr);
    fputs(colour, stderr);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "%s\n", *colour ? progress->plain : "");
    funlockfile(stderr);
    if (redraw)
        draw(progress);
    pthread_mutex_unlock(&progress->lock);
    va_end(arguments);
}

static void format_bar(char *out, int width, double share)
{
    const int full = (int)lround(share * width);
    for (int i = 0; i < width; i++)
        out[i] = i < full ? '#' : '.';
    out[width] = '\0';
}

static void format_duration(char *out, size_t size, double seconds)
{
    if (!(seconds >= 0 && seconds < 1e7)) { /* no end in sight */
        snprintf(out, size, "-:--");
        return;
    }
    long whole = lround(seconds);
    if (whole >= 3600)
        snprintf(out, size, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    else
        snprintf(out, size, "%ld:%02ld", whole / 60, whole % 60);
}

/* Seconds until the last iteration at the pace since the first one seen; tests count in. */
static double remaining_seconds(progress *progress, const qf_progress *now, double clock)
{
    if (progress->started == 0 || now->iteration < progress->first) {
        progress->started = clock;
        progress->first = now->iteration;
    }
    int done = now->iteration - progress->first;
    return done > 0 ? (clock - progress->started) / done * (now->total - now->iteration) : NAN;
}

/* Add a piece if it still fits: what matters most comes first. */
__attribute__((format(printf, 3, 4))) static void add(progress *progress, int columns,
                                                      const char *format, ...)
{
    char piece[128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(piece, sizeof piece, format, arguments);
    va_end(arguments);
    const size_t used = strlen(progress->line), length = strlen(piece);
    if (used + length <= (size_t)columns && used + length < sizeof progress->line)
        memcpy(progress->line + used, piece, length + 1);
}

/* Rates that nobody knows yet are left out. */
static void describe(progress *progress, const qf_progress *now, double left, int columns)
{
    char duration[32];
    if (!now->testing)
        add(progress, columns, "  loss %.4g", (double)now->loss);
    if (now->items_per_second >= 0.05)
        add(progress, columns, now->items_per_second < 10 ? "  %.1f img/s" : "  %.0f img/s",
            now->items_per_second);
    if (!isnan(left)) {
        format_duration(duration, sizeof duration, left);
        add(progress, columns, "  ETA %s", duration);
    }
    if (now->items_per_second > 0 && now->data_wait >= 0.05)
        add(progress, columns, "  data wait %.0f%%", 100 * now->data_wait);
    if (!now->testing)
        add(progress, columns, "  lr %.3g", (double)now->learning_rate);
}

static double share_of(const qf_progress *now)
{
    const double share = now->total > 0 ? (double)now->iteration / now->total : 0;
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

static void update_live(progress *progress, const qf_progress *now, double left)
{
    char bar[32];
    const int columns = room();
    format_bar(bar, columns < 100 ? 10 : 20, share_of(now));
    snprintf(progress->line, sizeof progress->line, "%s", now->what);
    add(progress, columns, " [%s]", bar);
    add(progress, columns, " %d/%d", now->iteration, now->total);
    describe(progress, now, left, columns);
    draw(progress);
}

static void print_plain(progress *progress, const qf_progress *now, double left)
{
    snprintf(progress->line, sizeof progress->line, "%s: %d of %d", now->what, now->iteration,
             now->total);
    describe(progress, now, left, (int)sizeof progress->line - 1);
    fprintf(stderr, "%s\n", progress->line);
}

/* Has this stage come past one of its marks, and was the line before long enough ago? */
static bool is_plain_due(progress *progress, const qf_progress *now, double clock)
{
    const int steps = now->testing ? 3 : 10, step = (int)(share_of(now) * steps);
    int *before = now->testing ? &progress->test_step : &progress->train_step;
    if (now->testing && (now->iteration <= 1 || strcmp(progress->tested, now->what) != 0)) {
        snprintf(progress->tested, sizeof progress->tested, "%s", now->what);
        *before = 0;
    }
    if (progress->drawn == 0)
        progress->drawn = clock;
    if (step <= *before || clock - progress->drawn < 2)
        return false;
    *before = step;
    return true;
}

void progress_update(progress *progress, const qf_progress *now)
{
    if (!progress->live && !progress->plain_lines)
        return;
    const double clock = seconds_now();
    const double left = !now->testing           ? remaining_seconds(progress, now, clock)
                        : now->seconds_left > 0 ? now->seconds_left
                                                : (double)NAN;
    const bool last = now->iteration >= now->total;
    if (progress->live ? clock - progress->drawn < 0.1 && !last
                       : !is_plain_due(progress, now, clock))
        return;
    pthread_mutex_lock(&progress->lock);
    progress->drawn = clock;
    (progress->live ? update_live : print_plain)(progress, now, left);
    pthread_mutex_unlock(&progress->lock);
}
