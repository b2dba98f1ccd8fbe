/* How many bits weights and activations have: which numbers are possible, and how configurations
 * say them, as AMCT's dst_type or as num_bits, which is qaffe's own. */
#ifndef QF_TOOLKIT_CONFIG_BITS_H
#define QF_TOOLKIT_CONFIG_BITS_H

#include "toolkit/config/config.h"

typedef enum qf_bits_of { QF_BITS_OF_WEIGHTS, QF_BITS_OF_ACTIVATIONS } qf_bits_of;

/* What is not said is 8. */
static inline int qf_bits(int said)
{
    return said ? said : 8;
}

/* Is the number possible? `where`, a file or a layer, begins the sentence. */
qf_status qf_bits_check(qf_context *context, const char *where, qf_bits_of of, int64_t bits);

/* What a .cfg or a JSON says of one quantiser; NULL: nothing of that kind. *out stays where both
 * are. */
qf_status qf_bits_take(qf_context *context, const char *where, qf_bits_of of, const char *dst_type,
                       const int64_t *num_bits, int *out);
/* AMCT's name of a number in a message. */
const char *qf_bits_type_name(Amct__DataType type);

/* Conveniences: what every enabled layer with weights gets that says nothing itself; the first and
 * the last of them get `edge` instead. 0: 8. */
typedef struct qf_bits_wanted {
    int weights, activations, edge;
} qf_bits_wanted;

qf_status qf_bits_apply(qf_context *context, const qf_bits_wanted *wanted, qf_config *config);

/* qf_create_quant_retrain_config() with conveniences; NULL, 0: none. `ranges`: a name
 * of toolkit/config/ranges.h. `batch_num` holds where config_definition says none. */
qf_status qf_config_create(qf_context *context, const char *config_file, const char *model_file,
                           const char *weights_file, const char *config_definition,
                           const qf_bits_wanted *bits, const char *ranges, int batch_num);

#endif
