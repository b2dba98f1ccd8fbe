/* Nets that are fed with what a user names. */
#ifndef QF_TOOLKIT_SOURCES_FEED_NET_H
#define QF_TOOLKIT_SOURCES_FEED_NET_H

#include "net/net.h"

/* The TEST phase of `net`, which reads what `options` name: its Data and ImageData layers do, or,
 * where it has none, layers that take the place of its Input layers. `model` is its name for
 * sentences. `label`: the name of a blob of labels to be made in place of an Input's, or NULL. */
qf_status qf_feed_net(qf_context *context, const qf_data_options *options, const char *model,
                      const char *label, Caffe__NetParameter *net);
/* Has it Input layers, and nothing that reads data? */
bool qf_net_wants_feeding(const Caffe__NetParameter *net);

/* The TEST phase of a model alone, so that no layer of the other is fed. */
qf_status qf_test_phase_read(qf_context *context, const char *model, Caffe__NetParameter **out);

/* A net of phase TEST of these files, fed. */
qf_status qf_fed_net_open(qf_context *context, const qf_data_options *options, const char *model,
                          const char *weights, qf_net **out);
/* Has what the net reads so many whole batches? AMCT's sentence where it has not. */
qf_status qf_fed_net_require(qf_net *net, int batches);

#endif
