/* The log in a file, line by line, with glog's head. */
#include "cli/log_file.h"

#include "cli/command.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

FILE *log_file_open(const char *folder)
{
    char host[256] = "", name[512], path[4096], date[32], head[64], link[4096];
    const char *user = getenv("USER");
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    gethostname(host, sizeof host - 1);
    strftime(date, sizeof date, "%Y%m%d-%H%M%S", &local);
    strftime(head, sizeof head, "%Y/%m/%d %H:%M:%S", &local);
    snprintf(name, sizeof name, "%s.%s.%s.log.INFO.%s.%ld", program_name, host,
             user && *user ? user : "invalid-user", date, (long)getpid());
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    if (!file)
        return NULL;
    setvbuf(file, NULL, _IOLBF, 0);
    fprintf(file,
            "Log file created at: %s\nRunning on machine: %s\nLog line format: [IWEF]mmdd "
            "hh:mm:ss.uuuuuu threadid file:line] msg\n",
            head, host);
    snprintf(link, sizeof link, "%s/%s.INFO", folder, program_name);
    (void)unlink(link);
    (void)!symlink(name, link); /* a convenience; the log is there without it */
    return file;
}
