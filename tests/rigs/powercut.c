/* Keeps a log of what a process asked of its disk, and of what it told others, in the order it happened.
 *
 *   LD_PRELOAD=powercut.so POWERCUT_LOG=/tmp/x.log POWERCUT_UNDER=/var/lib/shop tilltap run ...
 *
 * One record: op (1 byte), length of path (u16), length of data (u32), offset (i64), path, data. All numbers as
 * this machine has them. Ops:
 *   c  a file came to be           d  a folder came to be         u  a name was removed
 *   r  renamed; data: new name     w  data written at offset      t  cut or stretched to offset bytes
 *   s  synced (file or folder)     a  data sent on a Unix socket  h  data sent on another socket
 * Of a change, the record is made together with it; of a sync, after it returned; so whatever stands before a
 * reply in the log was done before it was sent. Only POWERCUT_UNDER and paths under it are kept.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static const char *under = "";

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("POWERCUT_LOG"), *folder = getenv("POWERCUT_UNDER");
    if (!path || !folder) return;
    under = folder;
    log_fd = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) abort();
}

static int ours(const char *path) {
    size_t length = strlen(under);
    return log_fd >= 0 && strncmp(path, under, length) == 0 && (!path[length] || path[length] == '/');
}

/* Called with `order` held. */
static void note(char op, const char *path, int64_t offset, const void *data, uint32_t size) {
    struct __attribute__((packed)) { char op; uint16_t path; uint32_t data; int64_t offset; } head = {
        op, (uint16_t)strlen(path), size, offset};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)path, head.path}, {(void *)data, size}};
    ssize_t whole = (ssize_t)(sizeof head + head.path + size);
    if (REAL(writev)(log_fd, parts, 3) != whole) abort();
}

static int path_of(int fd, char *into) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, into, PATH_MAX - 1);
    if (size < 0) return 0;
    into[size] = 0;
    return 1;
}

static int absolute(int folder, const char *path, char *into) {
    if (path[0] == '/') { snprintf(into, PATH_MAX, "%s", path); return 1; }
    char base[PATH_MAX];
    if (folder == AT_FDCWD ? !getcwd(base, sizeof base) : !path_of(folder, base)) return 0;
    return snprintf(into, PATH_MAX, "%.2000s/%.2000s", base, path) > 0;
}

#define LOCKED(call, test, record) ({ \
    pthread_mutex_lock(&order); \
    __typeof__(call) got = (call); \
    int kept = errno; \
    if (test) record; \
    pthread_mutex_unlock(&order); \
    errno = kept; \
    got; })

#define OPENER(name, params, folder, args) \
    int name params { \
        mode_t mode = 0; \
        if (flags & (O_CREAT | __O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); } \
        char full[PATH_MAX]; \
        if (!(flags & O_CREAT) || !absolute(folder, path, full) || !ours(full) || access(full, F_OK) == 0) \
            return REAL(name) args; \
        return LOCKED(REAL(name) args, got >= 0, note('c', full, 0, "", 0)); \
    }
OPENER(open, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
OPENER(open64, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
OPENER(openat, (int at, const char *path, int flags, ...), at, (at, path, flags, mode))
OPENER(openat64, (int at, const char *path, int flags, ...), at, (at, path, flags, mode))

#define NAMED(name, params, folder, op, args) \
    int name params { \
        char full[PATH_MAX]; \
        if (!absolute(folder, path, full) || !ours(full)) return REAL(name) args; \
        return LOCKED(REAL(name) args, got == 0, note(op, full, 0, "", 0)); \
    }
NAMED(mkdir, (const char *path, mode_t mode), AT_FDCWD, 'd', (path, mode))
NAMED(mkdirat, (int at, const char *path, mode_t mode), at, 'd', (at, path, mode))
NAMED(unlink, (const char *path), AT_FDCWD, 'u', (path))
NAMED(unlinkat, (int at, const char *path, int flags), at, 'u', (at, path, flags))

static int renamed(int got, const char *from, const char *to) {
    if (got == 0) note('r', from, 0, to, (uint32_t)strlen(to));
    return got;
}
int rename(const char *path, const char *to) {
    char a[PATH_MAX], b[PATH_MAX];
    if (!absolute(AT_FDCWD, path, a) || !absolute(AT_FDCWD, to, b) || !ours(a)) return REAL(rename)(path, to);
    return LOCKED(renamed(REAL(rename)(path, to), a, b), 0, (void)0);
}

#define ON_FD(kind, name, params, test, record, args) \
    kind name params { \
        char full[PATH_MAX]; \
        if (log_fd < 0 || fd == log_fd || !path_of(fd, full) || !ours(full)) return REAL(name) args; \
        return LOCKED(REAL(name) args, test, record); \
    }
#define WRITTEN(at) note('w', full, at, data, (uint32_t)got)
ON_FD(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), got > 0, WRITTEN(at), (fd, data, size, at))
ON_FD(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), got > 0, WRITTEN(at), (fd, data, size, at))
ON_FD(ssize_t, write, (int fd, const void *data, size_t size), got > 0, WRITTEN(lseek(fd, 0, SEEK_CUR) - got), (fd, data, size))
ON_FD(int, ftruncate, (int fd, off_t size), got == 0, note('t', full, size, "", 0), (fd, size))
ON_FD(int, ftruncate64, (int fd, off64_t size), got == 0, note('t', full, size, "", 0), (fd, size))

#define SYNCED(name) \
    int name(int fd) { \
        char full[PATH_MAX]; \
        int got = REAL(name)(fd); \
        if (got == 0 && log_fd >= 0 && path_of(fd, full) && ours(full)) { \
            pthread_mutex_lock(&order); \
            note('s', full, 0, "", 0); \
            pthread_mutex_unlock(&order); \
        } \
        return got; \
    }
SYNCED(fsync)
SYNCED(fdatasync)

#define SENDER(name, params, args) \
    ssize_t name params { \
        int family = AF_UNSPEC; \
        socklen_t size = sizeof family; \
        char full[PATH_MAX]; \
        if (log_fd < 0 || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) || !path_of(fd, full)) \
            return REAL(name) args; \
        return LOCKED(REAL(name) args, got > 0, note(family == AF_UNIX ? 'a' : 'h', full, 0, data, (uint32_t)got)); \
    }
SENDER(send, (int fd, const void *data, size_t length, int flags), (fd, data, length, flags))
SENDER(sendto, (int fd, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t room), (fd, data, length, flags, to, room))
