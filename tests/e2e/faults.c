/* Faults at storage calls: a library to preload (LD_PRELOAD) into the program under test.
 *
 * It counts the calls that touch something below one folder.  A rule lets some of them kill the
 * process before anything is done, fail, or write only half of what they were given; or fail once
 * and then, for that descriptor, succeed without doing anything, as fsync does on Linux.  Rules
 * come from faults_arm(), or, for a program that does not know of them, from the environment:
 *
 *     FAULTS_FOLDER=/real/path  FAULTS="kinds first last action errno; ..."  FAULTS_TRACE=/file
 *
 * kinds is a sum of 1 << kind; first and last count the calls of those kinds, from 1.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* In the order of KINDS in faults.py. */
enum { OPEN, PWRITE, PWRITEV, FDATASYNC, FSYNC, FTRUNCATE, LINK, UNLINK, MKDIR, FCHMOD, FALLOCATE,
       SYNCFS };
static const char *const names[] = {
    "open", "pwrite", "pwritev", "fdatasync", "fsync", "ftruncate", "link", "unlink", "mkdir",
    "fchmod", "fallocate", "syncfs"};
enum { KILL = 1, FAIL = 2, SHORT = 3, LIE = 4 };

struct rule { unsigned kinds; long first, last; int action, error; long seen; };
static struct rule rules[8];
static int rule_count, trace_fd = -1;
static long hits;
static char lying[65536]; /* descriptors whose syncs do nothing any more */
static char folder[4096];
static size_t folder_length;

/* Arm the rules written in `text` for everything below `path`; `trace` gets a line a call. */
void faults_arm(const char *path, const char *text, int trace)
{
    rule_count = 0;
    hits = 0;
    trace_fd = trace;
    for (; rule_count < 8; rule_count++) {
        struct rule *rule = &rules[rule_count];
        memset(rule, 0, sizeof *rule);
        if (sscanf(text, "%u %ld %ld %d %d", &rule->kinds, &rule->first, &rule->last,
                   &rule->action, &rule->error) != 5)
            break;
        const char *next = strchr(text, ';');
        text = next ? next + 1 : "";
    }
    snprintf(folder, sizeof folder, "%s", path);
    folder_length = strlen(folder); /* last: it switches the counting on */
}

void faults_disarm(void) { folder_length = 0; }

long faults_hits(void) { return hits; }

__attribute__((constructor)) static void arm_from_environment(void)
{
    const char *path = getenv("FAULTS_FOLDER"), *trace = getenv("FAULTS_TRACE");
    const char *text = getenv("FAULTS");
    if (path)
        faults_arm(path, text ? text : "",
                   trace ? (int)syscall(SYS_openat, AT_FDCWD, trace,
                                        O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1);
}

static int below(const char *path)
{
    return strncmp(path, folder, folder_length) == 0 &&
           (path[folder_length] == '/' || path[folder_length] == 0);
}

/* The place that `fd` and `path` mean, in `out`; 0 when it is not below the folder. */
static int place(int fd, const char *path, char *out, size_t size)
{
    char link[64];
    if (path && path[0] == '/') {
        snprintf(out, size, "%s", path);
    } else {
        snprintf(link, sizeof link, fd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, out, size - 1);
        if (length < 0)
            return 0;
        snprintf(out + length, size - length, "%s%s", path ? "/" : "", path ? path : "");
    }
    return below(out);
}

/* Count one call; 0 to go on with it, an errno to fail with, or -1 for half a write. */
static int fault(int kind, int fd, const char *path)
{
    char where[8192], line[8300];
    int saved = errno, verdict = 0;
    if (!folder_length || !place(fd, path, where, sizeof where)) {
        errno = saved;
        return 0;
    }
    if (trace_fd >= 0) {
        int length = snprintf(line, sizeof line, "%s %s\n", names[kind], where);
        syscall(SYS_write, trace_fd, line, length);
    }
    for (int i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        if (!(rule->kinds & 1u << kind))
            continue;
        long seen = __atomic_add_fetch(&rule->seen, 1, __ATOMIC_SEQ_CST);
        if (seen < rule->first || seen > rule->last)
            continue;
        __atomic_add_fetch(&hits, 1, __ATOMIC_SEQ_CST);
        if (rule->action == KILL) {
            kill(getpid(), SIGKILL);
            for (;;)
                pause();
        }
        if (rule->action == LIE && fd >= 0 && fd < (int)sizeof lying)
            lying[fd] = 1;
        verdict = rule->action == SHORT ? -1 : rule->error;
    }
    errno = saved;
    return verdict;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) \
        real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)
#define MAY_FAIL(kind, fd, path) \
    do { \
        int error = fault(kind, fd, path); \
        if (error > 0) { \
            errno = error; \
            return -1; \
        } \
    } while (0)

#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) \
    { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        REAL(int, #name, int, const char *, int, ...); \
        MAY_FAIL(OPEN, at, path); \
        return real(at, path, flags, mode); \
    }
#define OPEN_(name) \
    int name(const char *path, int flags, ...) \
    { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        REAL(int, #name, const char *, int, ...); \
        MAY_FAIL(OPEN, AT_FDCWD, path); \
        return real(path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)
OPEN_(open)
OPEN_(open64)

#define PWRITE_(name, offset) \
    ssize_t name(int fd, const void *data, size_t count, offset at) \
    { \
        REAL(ssize_t, #name, int, const void *, size_t, offset); \
        int error = fault(PWRITE, fd, NULL); \
        if (error > 0) { \
            errno = error; \
            return -1; \
        } \
        return real(fd, data, error < 0 && count > 1 ? count / 2 : count, at); \
    }
PWRITE_(pwrite, off_t)
PWRITE_(pwrite64, off64_t)

/* As many of `count` buffers as hold half of the bytes, the last one cut, in `out`. */
static int halved(const struct iovec *in, int count, struct iovec *out)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += in[i].iov_len;
    size_t left = total > 1 ? total / 2 : total;
    int used = 0;
    while (used < count && left) {
        out[used] = in[used];
        if (out[used].iov_len > left)
            out[used].iov_len = left;
        left -= out[used++].iov_len;
    }
    return used;
}

#define PWRITEV_BODY(name, offset, ...) \
    { \
        struct iovec half[1024]; \
        int error = fault(PWRITEV, fd, NULL); \
        if (error > 0) { \
            errno = error; \
            return -1; \
        } \
        if (error < 0 && count <= 1024) { \
            count = halved(data, count, half); \
            data = half; \
        } \
        return real(fd, data, count, at, ##__VA_ARGS__); \
    }
#define PWRITEV_(name, offset) \
    ssize_t name(int fd, const struct iovec *data, int count, offset at) \
    { \
        REAL(ssize_t, #name, int, const struct iovec *, int, offset); \
        PWRITEV_BODY(name, offset) \
    }
#define PWRITEV2_(name, offset) \
    ssize_t name(int fd, const struct iovec *data, int count, offset at, int flags) \
    { \
        REAL(ssize_t, #name, int, const struct iovec *, int, offset, int); \
        PWRITEV_BODY(name, offset, flags) \
    }
PWRITEV_(pwritev, off_t)
PWRITEV_(pwritev64, off64_t)
PWRITEV2_(pwritev2, off_t)
PWRITEV2_(pwritev64v2, off64_t)

#define ON_FD(name, kind, ...) \
    int name(int fd) \
    { \
        REAL(int, #name, int); \
        if (fd >= 0 && fd < (int)sizeof lying && lying[fd]) \
            return 0; \
        MAY_FAIL(kind, fd, NULL); \
        return real(fd); \
    }
ON_FD(fdatasync, FDATASYNC)
ON_FD(fsync, FSYNC)
ON_FD(syncfs, SYNCFS)

int close(int fd)
{
    REAL(int, "close", int);
    if (fd >= 0 && fd < (int)sizeof lying)
        lying[fd] = 0;
    return real(fd);
}

#define FTRUNCATE_(name, offset) \
    int name(int fd, offset length) \
    { \
        REAL(int, #name, int, offset); \
        MAY_FAIL(FTRUNCATE, fd, NULL); \
        return real(fd, length); \
    }
FTRUNCATE_(ftruncate, off_t)
FTRUNCATE_(ftruncate64, off64_t)

/* posix_fallocate returns the error. */
#define FALLOCATE_(name, offset) \
    int name(int fd, offset at, offset length) \
    { \
        REAL(int, #name, int, offset, offset); \
        int error = fault(FALLOCATE, fd, NULL); \
        return error > 0 ? error : real(fd, at, length); \
    }
FALLOCATE_(posix_fallocate, off_t)
FALLOCATE_(posix_fallocate64, off64_t)

int linkat(int from, const char *old, int to, const char *new, int flags)
{
    REAL(int, "linkat", int, const char *, int, const char *, int);
    MAY_FAIL(LINK, to, new);
    return real(from, old, to, new, flags);
}

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    MAY_FAIL(UNLINK, AT_FDCWD, path);
    return real(path);
}

int unlinkat(int at, const char *path, int flags)
{
    REAL(int, "unlinkat", int, const char *, int);
    MAY_FAIL(UNLINK, at, path);
    return real(at, path, flags);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(int, "mkdir", const char *, mode_t);
    MAY_FAIL(MKDIR, AT_FDCWD, path);
    return real(path, mode);
}

int mkdirat(int at, const char *path, mode_t mode)
{
    REAL(int, "mkdirat", int, const char *, mode_t);
    MAY_FAIL(MKDIR, at, path);
    return real(at, path, mode);
}

int fchmod(int fd, mode_t mode)
{
    REAL(int, "fchmod", int, mode_t);
    MAY_FAIL(FCHMOD, fd, NULL);
    return real(fd, mode);
}
