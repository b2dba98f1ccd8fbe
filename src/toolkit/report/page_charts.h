/* The charts of the page, as SVG. Each is a figure with a caption, and says in words what it shows.
 */
#ifndef QF_TOOLKIT_REPORT_PAGE_CHARTS_H
#define QF_TOOLKIT_REPORT_PAGE_CHARTS_H

#include "base/buffer.h"

void qf_chart_histogram(qf_buffer *out, const qf_report_layer *layer);
void qf_chart_weights(qf_buffer *out, const qf_report_layer *layer);  /* range by channel */
void qf_chart_headroom(qf_buffer *out, const qf_report_layer *layer); /* of N, by channel */
void qf_chart_ranges(qf_buffer *out, const qf_report_layer *layer);   /* learned */
void qf_chart_curve(qf_buffer *out, const qf_report_curve *curve);

/* The net from top to bottom, each quantised layer coloured by what it loses. */
void qf_page_graph(qf_buffer *out, const qf_report *report);

#endif
