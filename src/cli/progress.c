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

void progress_open(progress *progress)
{
    *progress = (struct progress){.red = "", .yellow = "", .plain = ""};
    pthread_mutex_init(&progress->lock, NULL);
    const char *terminal = getenv("TERM");
    progress->live = isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
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

static void draw(progress *progress)
{
    struct winsize size;
    int columns = 80;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
        columns = size.ws_col;
    /* One short of the width: a full line would wrap on some terminals. */
    fprintf(stderr, "\r\033[K%.*s", columns - 1, progress->line);
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

static void format_bar(char *out, size_t size, double share)
{
    int width = (int)size - 1, full = (int)lround(share * width);
    for (int i = 0; i < width; i++)
        out[i] = i < full ? '#' : '.';
    out[width] = '\0';
}

static void format_duration(char *out, size_t size, double seconds)
{
    if (!(seconds >= 0 && seconds < 1e7)) { /* nothing measured yet, or no end in sight */
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

void progress_update(progress *progress, const qf_progress *now)
{
    if (!progress->live)
        return;
    double clock = seconds_now(), left = NAN;
    if (!now->testing)
        left = remaining_seconds(progress, now, clock);
    bool last = now->iteration >= now->total;
    if (clock - progress->drawn < 0.1 && !last)
        return;
    char bar[21], duration[32];
    double share = now->total > 0 ? (double)now->iteration / now->total : 0;
    format_bar(bar, sizeof bar, share < 0 ? 0 : share > 1 ? 1 : share);
    format_duration(duration, sizeof duration, left);
    pthread_mutex_lock(&progress->lock);
    progress->drawn = clock;
    if (now->testing)
        snprintf(progress->line, sizeof progress->line, "[%s] testing, batch %d of %d  %.0f img/s",
                 bar, now->iteration, now->total, now->items_per_second);
    else
        snprintf(progress->line, sizeof progress->line,
                 "[%s] %d/%d  loss %.4g  lr %.3g  %.0f img/s  data wait %.0f%%  ETA %s", bar,
                 now->iteration, now->total, (double)now->loss, (double)now->learning_rate,
                 now->items_per_second, 100 * now->data_wait, duration);
    draw(progress);
    pthread_mutex_unlock(&progress->lock);
}
