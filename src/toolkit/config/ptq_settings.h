/* The settings of calibration, their names and kinds: what is written, read and checked by table.
 */
#ifndef QF_TOOLKIT_CONFIG_PTQ_SETTINGS_H
#define QF_TOOLKIT_CONFIG_PTQ_SETTINGS_H

#include "toolkit/config/config.h"

typedef enum qf_setting_kind {
    QF_SET_CONSTANT, /* an integer that must be this one; not kept */
    QF_SET_INTEGER,
    QF_SET_BITS, /* an integer that is not written where it is 8 */
    QF_SET_BOOLEAN,
    QF_SET_CHOICE, /* a boolean that may be absent */
    QF_SET_NUMBER,
    QF_SET_PAIR,
    QF_SET_WORD, /* a number that stands for one of the words */
    QF_SET_NAMES /* of layers; with their count behind them */
} qf_setting_kind;

/* Who has a setting, of activations and of weights; any other method does not know it. */
enum { QF_FOR_IFMR = 1 << QF_IFMR, QF_FOR_HFMG = 1 << QF_HFMG, QF_FOR_ALL = 3 };
enum { QF_FOR_ARQ = 1 << QF_ARQ, QF_FOR_NUQ = 1 << QF_NUQ };

typedef struct qf_setting {
    const char *key;
    qf_setting_kind kind;
    size_t at;                /* in qf_config or qf_layer_config */
    unsigned methods;         /* QF_FOR_… */
    bool read_only;           /* accepted, not written */
    int constant;             /* QF_SET_CONSTANT */
    const char *const *words; /* QF_SET_WORD; ends with NULL */
    const char *refusal;      /* of another constant, word or length */
} qf_setting;

/* Each up to a NULL key, in the order in which AMCT writes them. */
extern const qf_setting qf_ptq_globals[], qf_ptq_layer[], qf_ptq_activation[], qf_ptq_weights[];

/* NULL: none */
const qf_setting *qf_setting_find(const qf_setting *table, const char *key);
const qf_setting *qf_setting_find_for(const qf_setting *table, const char *key, unsigned methods);

#endif
