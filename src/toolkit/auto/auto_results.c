/* What automatic calibration leaves: the final models, record and configuration, the ranking and
 * what was tried. */
#include "base/amct_log.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/output.h"
#include "toolkit/auto/auto_files.h"
#include "toolkit/auto/auto_work.h"
#include "toolkit/toolkit.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

static qf_status copy_record(qf_auto_work *work)
{
    qf_buffer text = {0};
    qf_status status = qf_file_read(work->context, work->file[QF_AUTO_RECORD], &text);
    if (status == QF_OK)
        status = qf_file_write(work->context, work->record_file, text.data, text.size, 0640);
    qf_buffer_release(&text);
    return status;
}

static qf_status write_generated(qf_auto_work *work, const qf_auto_record *last)
{
    qf_buffer path = {0};
    qf_buffer_print(&path, "%s/%s", work->results, QF_AUTO_NAME("final_config"));
    qf_status status = qf_buffer_whole(work->context, &path);
    if (status == QF_OK)
        status = qf_save_model(work->context, work->graph, QF_SAVE_BOTH, work->options->save_path);
    if (status == QF_OK)
        status = copy_record(work);
    if (status == QF_OK)
        status = qf_auto_write_config(work->context, &work->state.history, last,
                                      work->options->config_file, path.data);
    qf_buffer_release(&path);
    return status;
}

static qf_status write_all(qf_auto_work *work, bool generated)
{
    const qf_auto_history *history = &work->state.history;
    qf_buffer path = {0};
    qf_buffer_print(&path, "%s/%s", work->results, QF_AUTO_NAME("ranking_information"));
    qf_status status = qf_buffer_whole(work->context, &path);
    if (status == QF_OK)
        status = qf_auto_write_ranking(work->context, history, work->state.sensitivity, path.data);
    qf_buffer_release(&path);
    QF_TRY(status);
    QF_TRY(qf_auto_write_records(work->context, history,
                                 QF_AMCT_LOG_FOLDER "/" QF_AUTO_NAME("record")));
    return generated ? write_generated(work, &history->records[history->count - 1]) : QF_OK;
}

/* Models of an earlier run with this prefix: nobody may take them for the result of this one. */
static void remove_models(const qf_auto_work *work)
{
    const char *slash = strrchr(work->options->save_path, '/'),
               *prefix = slash ? slash + 1 : work->options->save_path;
    DIR *folder = opendir(work->results);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
            (strstr(entry->d_name, "deploy") || strstr(entry->d_name, "fake_quant")))
            unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder)
        closedir(folder);
}

qf_status qf_auto_write_results(qf_auto_work *work, bool generated)
{
    const size_t last = work->state.history.count - 1;
    if (generated && (!work->graph || work->made != last)) /* the interrupted run had made it */
        QF_TRY(qf_auto_make(work, last, &work->state.history.records[last], false));
    const size_t mark = qf_outputs_begin(work->context);
    QF_TRY(qf_outputs_end(work->context, mark, write_all(work, generated)));
    if (!generated)
        remove_models(work);
    return QF_OK;
}
