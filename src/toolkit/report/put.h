/* Putting names and numbers into files that others read: whatever a name holds, the file stays
 * well-formed, and numbers have a point in every language. */
#ifndef QF_TOOLKIT_REPORT_PUT_H
#define QF_TOOLKIT_REPORT_PUT_H

#include "base/buffer.h"

/* A string of JSON, in quotes. What is no UTF-8 becomes U+FFFD. */
void qf_put_json_text(qf_buffer *out, const char *text);
/* Text of HTML, good for attributes in double quotes, too. */
void qf_put_html(qf_buffer *out, const char *text);
/* Seven significant digits, enough for what is measured here; finite numbers only. */
void qf_put_number(qf_buffer *out, double value);
/* So many significant digits. */
void qf_put_digits(qf_buffer *out, double value, int digits);
/* So many digits behind the point. */
void qf_put_fixed(qf_buffer *out, double value, int decimals);
/* An argument of a shell's command line, quoted where it needs to be. */
void qf_put_argument(qf_buffer *out, const char *text);

#endif
