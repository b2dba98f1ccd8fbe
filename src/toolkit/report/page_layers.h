/* The layers of the page: a row each, and details to open. */
#ifndef QF_TOOLKIT_REPORT_PAGE_LAYERS_H
#define QF_TOOLKIT_REPORT_PAGE_LAYERS_H

#include "base/buffer.h"

void qf_page_layer_table(qf_buffer *out, const qf_report *report);
void qf_page_layer_details(qf_buffer *out, const qf_report *report);

#endif
