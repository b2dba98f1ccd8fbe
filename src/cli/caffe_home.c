/* qaffe caffe-home: a folder laid out like a built Caffe checkout, for scripts that ask where Caffe
 * is.
 *
 * The build tree and an installation have one. A Python wheel cannot hold links, so there it is
 * made in the user's cache. A checkout of Caffe itself can be made one by links, too (--into). */
#include "cli/commands.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where Caffe's build has its programs; all others are in tools/. */
static const struct {
    const char *tool, *folder;
} examples[] = {
    {"convert_mnist_data", "build/examples/mnist"},
    {"convert_mnist_siamese_data", "build/examples/siamese"},
    {"convert_cifar_data", "build/examples/cifar10"},
};

static const option options[] = {
    FILE_OPTION(
        "into", "CHECKOUT",
        "Link qaffe into this checkout of Caffe, so that its own scripts and notebooks run: "
        "build/ "
        "becomes a link, and python/caffe a folder of links to qaffe's files (what was there "
        "is kept as python/caffe.bvlc)."),
};

static bool fails(const char *what, const char *path)
{
    fprintf(stderr, "qaffe caffe-home: cannot %s %s: %s\n", what, path, strerror(errno));
    return false;
}

/* "folder/name" into `path`, of PATH_MAX bytes. False, and a sentence, if it is too long. */
static bool join(char *path, const char *folder, const char *name)
{
    if (snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX)
        return true;
    errno = ENAMETOOLONG;
    return fails("use", folder);
}

static bool exists(const char *path)
{
    struct stat ignored;
    return lstat(path, &ignored) == 0;
}

static bool is_folder(const char *path)
{
    struct stat found;
    return lstat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

static bool make_folders(const char *path)
{
    char folder[PATH_MAX];
    for (size_t i = 1; i < sizeof folder; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        snprintf(folder, sizeof folder, "%.*s", (int)i, path);
        if (mkdir(folder, 0755) != 0 && errno != EEXIST)
            return fails("make the folder", folder);
        if (path[i] == '\0')
            break;
    }
    return true;
}

/* A link that replaces an older link, but nothing else. */
static bool make_link(const char *target, const char *path)
{
    char old[PATH_MAX];
    if (readlink(path, old, sizeof old) >= 0 && unlink(path) != 0)
        return fails("replace", path);
    return symlink(target, path) == 0 || fails("make the link", path);
}

static bool command_path(char path[PATH_MAX])
{
    return realpath("/proc/self/exe", path) || fails("find", "/proc/self/exe");
}

/* Beside the command in the build tree, below share/ where it is installed. */
static bool find_home(const char *command, char home[PATH_MAX])
{
    static const char *const places[] = {"caffe-home", "../share/qaffe/caffe-home"};
    int folder = (int)(strrchr(command, '/') - command);
    for (size_t i = 0; i < COUNT(places); i++) {
        char place[PATH_MAX + 64];
        snprintf(place, sizeof place, "%.*s/%s", folder, command, places[i]);
        if (realpath(place, home))
            return true;
    }
    return false;
}

static bool link_tools(const char *command, const char *home)
{
    const struct command *each;
    for (size_t i = 0; (each = command_at(i)); i++) {
        if (!each->caffe_tool)
            continue;
        const char *folder = "build/tools";
        for (size_t k = 0; k < COUNT(examples); k++)
            if (strcmp(examples[k].tool, each->name) == 0)
                folder = examples[k].folder;
        char path[PATH_MAX], link[PATH_MAX], name[64];
        static const char *const endings[] = {"", ".bin"};
        if (!join(path, home, folder) || !make_folders(path))
            return false;
        for (size_t k = 0; k < COUNT(endings); k++) {
            snprintf(name, sizeof name, "%s%s", each->name, endings[k]);
            if (!join(link, path, name) || !make_link(command, link))
                return false;
        }
    }
    return true;
}

/* From a wheel: <packages>/qaffe/bin/qaffe. The path says of which installation it is. */
static bool make_home(const char *command, char home[PATH_MAX])
{
    const char *cache = getenv("XDG_CACHE_HOME"), *user = getenv("HOME");
    char packages[PATH_MAX], link[PATH_MAX], base[PATH_MAX], place[PATH_MAX];
    if (snprintf(place, sizeof place, "%.*s/../..", (int)(strrchr(command, '/') - command),
                 command) >= PATH_MAX ||
        !realpath(place, packages) || !join(place, packages, "caffe") || !exists(place)) {
        fprintf(stderr,
                "qaffe caffe-home: there is no caffe-home beside %s; build or install it whole\n",
                command);
        return false;
    }
    if (!cache && !user) {
        fputs("qaffe caffe-home: set HOME or XDG_CACHE_HOME, to say where it can be made\n",
              stderr);
        return false;
    }
    if (!join(base, cache ? cache : user, cache ? "qaffe" : ".cache/qaffe"))
        return false;
    return snprintf(place, sizeof place, "caffe-home%s", packages) < PATH_MAX &&
           join(home, base, place) && make_folders(home) && link_tools(command, home) &&
           join(link, home, "python") && make_link(packages, link);
}

/* Links in `to` to each entry of `from` that `to` lacks; of folders only, if so wanted. */
static bool link_entries(const char *from, const char *to, bool folders_only)
{
    DIR *entries = opendir(from);
    if (!entries)
        return fails("read the folder", from);
    bool done = true;
    for (struct dirent *entry; done && (entry = readdir(entries));) {
        char source[PATH_MAX], link[PATH_MAX];
        const char *name = entry->d_name;
        if (name[0] == '.' || strcmp(name, "__pycache__") == 0)
            continue;
        done = join(source, from, name) && join(link, to, name);
        if (done && !exists(link) && (!folders_only || is_folder(source)))
            done = make_link(source, link);
    }
    closedir(entries);
    return done;
}

/* python/caffe of the checkout: qaffe's files, and the folders of the checkout that qaffe's lacks
 * (imagenet/ with its mean, test/). Beside it, the packages that qaffe's needs. */
static bool link_python(const char *home, const char *checkout)
{
    char mine[PATH_MAX], package[PATH_MAX], before[PATH_MAX], ours[PATH_MAX];
    if (!join(package, checkout, "python/caffe") || !join(before, checkout, "python/caffe.bvlc") ||
        !join(mine, home, "python/caffe"))
        return false;
    if (!realpath(mine, ours))
        return fails("find", mine);
    if (!exists(before) && rename(package, before) != 0)
        return fails("rename", package);
    static const char *const packages[] = {"python/qaffe", "python/amct_caffe"};
    char target[PATH_MAX], link[PATH_MAX];
    for (size_t i = 0; i < COUNT(packages); i++)
        if (!join(target, home, packages[i]) || !join(link, checkout, packages[i]) ||
            !make_link(target, link))
            return false;
    return make_folders(package) && link_entries(ours, package, false) &&
           link_entries(before, package, true);
}

static bool link_checkout(const char *home, const char *given)
{
    char checkout[PATH_MAX], package[PATH_MAX], build[PATH_MAX], target[PATH_MAX], old[PATH_MAX];
    if (!realpath(given, checkout))
        return fails("find", given);
    if (!join(package, checkout, "python/caffe") || !join(build, checkout, "build") ||
        !join(target, home, "build"))
        return false;
    if (!is_folder(package)) {
        fprintf(stderr, "qaffe caffe-home: %s is no checkout of Caffe: it has no python/caffe\n",
                checkout);
        return false;
    }
    if (exists(build) && readlink(build, old, sizeof old) < 0) {
        fprintf(stderr, "qaffe caffe-home: %s exists and is no link; move it away first\n", build);
        return false;
    }
    return make_link(target, build) && link_python(home, checkout);
}

static int run(const arguments *arguments)
{
    char command[PATH_MAX], home[PATH_MAX];
    const char *checkout = argument_text(arguments, "into");
    if (!command_path(command) || (!find_home(command, home) && !make_home(command, home)) ||
        (checkout && !link_checkout(home, checkout)))
        return EXIT_FAILED;
    puts(checkout ? checkout : home);
    return EXIT_DONE;
}

const command command_caffe_home = {
    .name = "caffe-home",
    .summary = "Print a folder laid out like a built Caffe checkout.",
    .details =
        "For scripts that ask where Caffe is: it has python/caffe, build/tools/ with caffe and "
        "its other programs, and build/examples/ with the converters of data sets.\n\n"
        "Scripts and notebooks of a Caffe checkout look for build/ and python/caffe in the "
        "checkout "
        "itself: --into makes both qaffe's. To undo it, remove build and python/caffe and rename "
        "python/caffe.bvlc.",
    .example = "python3 ResNet50_retrain.py --caffe_dir $(qaffe caffe-home) ...\n"
               "qaffe caffe-home --into caffe && cd caffe && examples/mnist/train_lenet.sh",
    OPTIONS(options),
    .run = run,
};
