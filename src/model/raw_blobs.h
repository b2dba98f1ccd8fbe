/* Blobs as NVIDIA's Caffe stores them since 0.16: the bytes of the array in one field, its type in
 * another, under numbers that AMCT gave to arrays of its own. */
#ifndef QF_MODEL_RAW_BLOBS_H
#define QF_MODEL_RAW_BLOBS_H

#include "model/model.h"

/* Turns the raw blobs of a net in wire format into Caffe's, in place; how many there were. Those of
 * 16-bit floats become half_data. */
size_t qf_raw_blobs_translate(uint8_t *net, size_t size);
/* half_data → data, in the whole net. */
qf_status qf_raw_blobs_widen(qf_context *context, Caffe__NetParameter *net);
float qf_float_of_half(unsigned half); /* the value of IEEE's 16 bits */

#endif
