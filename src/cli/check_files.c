/* qaffe inspect --check: files one by one, and a table of what is odd in them. */
#include "cli/check_files.h"

#include "cli/session.h"

#include <inttypes.h>

static void print_odd(const qf_odd_blob *blob)
{
    printf("  %s:", blob->name);
    const struct {
        uint64_t count;
        const char *what;
    } kinds[] = {{blob->nan, "NaN"}, {blob->infinite, "infinite"}, {blob->denormal, "denormal"}};
    const char *comma = "";
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (kinds[i].count) {
            printf("%s %" PRIu64 " %s", comma, kinds[i].count, kinds[i].what);
            comma = ",";
        }
    printf(" of %" PRIu64 " value%s", blob->values, blob->values == 1 ? "" : "s");
    if (blob->nan || blob->infinite)
        printf(", the first at %" PRIu64, blob->first);
    putchar('\n');
}

static void print_found(const char *file, const qf_file_check *found, qf_status status)
{
    printf("%s: ", file);
    if (found->values)
        printf("%" PRIu64 " values in %" PRIu64 " blob%s; ", found->values, found->blobs,
               found->blobs == 1 ? "" : "s");
    puts(!found->has_checksum      ? "no checksum"
         : status == QF_E_MISMATCH ? "the checksum does not agree"
                                   : "the checksum agrees");
    for (size_t i = 0; i < found->odd; i++)
        print_odd(found->odd_blob[i]);
}

int check_files(const arguments *arguments)
{
    session session;
    int wrong = 0;
    if (arguments->word_count == 0)
        return usage_error(arguments->command, "--check needs files: --check FILE...");
    if (!session_open(&session, arguments, QF_WARNING))
        return EXIT_FAILED;
    for (int i = 0; i < arguments->word_count; i++) {
        qf_file_check *found;
        const qf_status status = qf_check_file(session.context, arguments->words[i], &found);
        if (found && (found->blobs || found->has_checksum))
            print_found(arguments->words[i], found, status);
        if (status != QF_OK) {
            fflush(stdout); /* in this order on the screen */
            fprintf(stderr, "%s: %s\n", command_title(arguments->command),
                    qf_error_text(session.context));
            wrong++;
        }
        qf_file_check_destroy(found);
    }
    if (wrong && arguments->word_count > 1)
        fprintf(stderr, "%s: %d of %d files are not in order\n", command_title(arguments->command),
                wrong, arguments->word_count);
    session_close(&session, QF_OK);
    return wrong == 0 ? EXIT_DONE : EXIT_FAILED;
}
