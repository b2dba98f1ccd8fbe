/* Which blobs hold no negative values, whatever the weights and the input. */
#ifndef QF_TOOLKIT_EXPORT_SIGNS_H
#define QF_TOOLKIT_EXPORT_SIGNS_H

#include "toolkit/prepare/graph.h"

/* The blob as layer `before` reads it. False where that is not known. */
bool qf_graph_is_never_negative(const Caffe__NetParameter *net, const char *blob, int before);

#endif
