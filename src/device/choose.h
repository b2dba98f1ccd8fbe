/*
 * Ordered lists of implementations: the ways in which a device can do an operation. The first that
 * can, and suits, runs. What is chosen depends on shapes and forms only, or on a measurement of
 * ways that give the same bits; an object keeps it, so that calls do not search.
 *
 * QAFFE_FORCE=convolve:pointwise,pool:reference names the implementation of a family's operations
 * that runs wherever it can, suiting or not; where it cannot, the usual order decides. `reference`
 * takes the reference's whole family in place of the host's (device.c), with or without lists.
 */
#ifndef QF_DEVICE_CHOOSE_H
#define QF_DEVICE_CHOOSE_H

#include "base/context.h"

/* `call`: the operation's arguments, a structure of the family. */
typedef struct qf_implementation {
    const char *name;
    /* Can it do this? *no receives why not, in a few words, or stays NULL. NULL: it always can. An
     * error is one of trying, and nothing is chosen then. */
    qf_status (*accepts)(qf_context *, const void *call, const char **no);
    /* Is it, where it can, better than those after it? In the same way. NULL: it is. */
    qf_status (*suits)(qf_context *, const void *call, const char **no);
    qf_status (*run)(qf_context *, const void *call);
} qf_implementation;

/* Reasons that begin so are those of `accepts` where nothing but the processor is in the way: tests
 * take an implementation that never runs for a mistake else. */
#define QF_LACKS "this processor has no "

typedef struct qf_implementations {
    const char *family, *operation;
    const qf_implementation *entry; /* the last one accepts and suits always */
    int count;
    void (*describe)(const void *call, char *text, size_t size); /* shape and forms, for people */
} qf_implementations;

#define QF_IMPLEMENTATIONS(entries) (entries), (int)(sizeof(entries) / sizeof *(entries))

/* Sets *chosen, unless an earlier call has, and says once what and why (log level debug). */
qf_status qf_choose(qf_context *context, const qf_implementations *list, const void *call,
                    const qf_implementation **chosen);

/* The same where no object could keep the choice: the context does, for the list and `with`, bits
 * that say all it depends on, fewer than 32. */
qf_status qf_choose_once(qf_context *context, const qf_implementations *list, unsigned with,
                         const void *call, const qf_implementation **chosen);
/* What a measurement of time said about entries of `list` for `key`, bytes that say all it depends
 * on, at most QF_TIMED_KEY of them: an object that is made again, as for the smaller last batch of
 * each test, need not measure again. The context remembers the latest of them. */
enum { QF_TIMED_KEY = 128 };
/* false: it is not known. */
bool qf_timing_known(const qf_context *context, const qf_implementations *list, const void *key,
                     size_t size, bool *suits);
qf_status qf_timing_keep(qf_context *context, const qf_implementations *list, const void *key,
                         size_t size, bool suits);

/* What the context has kept is chosen anew from here on: for tests, which force one after another.
 */
void qf_forget_choices(qf_context *context);

/* Does QAFFE_FORCE name this? */
bool qf_is_forced(const char *family, const char *name);

/* Warns of what QAFFE_FORCE names and neither the families nor the lists, an array that ends with
 * NULL, have. */
void qf_check_forced(qf_context *context, const qf_implementations *const *lists);

#endif
