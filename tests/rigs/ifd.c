/* A PC/SC reader's driver whose reader is a Unix socket: whatever pcscd asks of it goes there, and the answer back.

   Request: operation, code (4 bytes, of this machine's order), length (4 bytes), data.
   Answer:  IFD code (4 bytes), length (4 bytes), data. One at a time; a socket that breaks is a reader that is gone. */

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <PCSC/ifdhandler.h>

static int line = -1;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static int all(int writing, void *data, size_t size)
{
    for (char *at = data; size > 0;) {
        ssize_t part = writing ? send(line, at, size, MSG_NOSIGNAL) : recv(line, at, size, 0);
        if (part <= 0)
            return 0;
        at += part;
        size -= part;
    }
    return 1;
}

static RESPONSECODE ask(char operation, uint32_t code, const void *sent, uint32_t size, void *got, DWORD *room)
{
    uint32_t head[2], most = room ? *room : 0;
    RESPONSECODE result = IFD_NO_SUCH_DEVICE;

    if (room)
        *room = 0;
    pthread_mutex_lock(&turn);
    if (all(1, &operation, 1) && all(1, &code, 4) && all(1, &size, 4) && all(1, (void *)sent, size)
        && all(0, head, sizeof head)) {
        if (head[1] > most) {
            close(line);
            result = IFD_ERROR_INSUFFICIENT_BUFFER;
        } else if (all(0, got, head[1])) {
            result = head[0];
            if (room)
                *room = head[1];
        }
    }
    pthread_mutex_unlock(&turn);
    return result;
}

RESPONSECODE IFDHCreateChannelByName(DWORD lun, LPSTR name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void)lun;
    strncpy(address.sun_path, name, sizeof address.sun_path - 1);
    line = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(line, (struct sockaddr *)&address, sizeof address) ? IFD_NO_SUCH_DEVICE : IFD_SUCCESS;
}

RESPONSECODE IFDHCreateChannel(DWORD lun, DWORD channel)
{
    (void)lun, (void)channel;
    return IFD_NO_SUCH_DEVICE;
}

RESPONSECODE IFDHCloseChannel(DWORD lun)
{
    (void)lun;
    close(line);
    return IFD_SUCCESS;
}

RESPONSECODE IFDHGetCapabilities(DWORD lun, DWORD tag, PDWORD size, PUCHAR value)
{
    (void)lun;
    switch (tag) {
    case TAG_IFD_ATR:
        return ask('a', 0, "", 0, value, size);
    case TAG_IFD_SLOTS_NUMBER:
    case TAG_IFD_SIMULTANEOUS_ACCESS:
        *size = 1;
        *value = 1;
        return IFD_SUCCESS;
    default:
        *size = 0;
        return IFD_ERROR_TAG;
    }
}

RESPONSECODE IFDHSetCapabilities(DWORD lun, DWORD tag, DWORD size, PUCHAR value)
{
    (void)lun, (void)tag, (void)size, (void)value;
    return IFD_ERROR_TAG;
}

RESPONSECODE IFDHSetProtocolParameters(DWORD lun, DWORD protocol, UCHAR flags, UCHAR a, UCHAR b, UCHAR c)
{
    (void)lun, (void)protocol, (void)flags, (void)a, (void)b, (void)c;
    return IFD_SUCCESS;
}

RESPONSECODE IFDHPowerICC(DWORD lun, DWORD action, PUCHAR atr, PDWORD size)
{
    (void)lun;
    *size = MAX_ATR_SIZE;
    return ask('p', action, "", 0, atr, size);
}

RESPONSECODE IFDHTransmitToICC(DWORD lun, SCARD_IO_HEADER to, PUCHAR sent, DWORD size, PUCHAR got, PDWORD room,
                               PSCARD_IO_HEADER from)
{
    (void)lun, (void)to, (void)from;
    return ask('t', 0, sent, size, got, room);
}

RESPONSECODE IFDHControl(DWORD lun, DWORD code, PUCHAR sent, DWORD size, PUCHAR got, DWORD most, LPDWORD given)
{
    (void)lun;
    *given = most;
    return ask('c', code, sent, size, got, given);
}

RESPONSECODE IFDHICCPresence(DWORD lun)
{
    (void)lun;
    return ask('i', 0, "", 0, NULL, NULL);
}
