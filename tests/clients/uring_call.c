// One chat call without TLS whose connection is opened, written and read by io_uring: ADDRESS KEY MODEL.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTRIES 4

static int ring;
static struct io_uring_params setup;
static char *sq, *cq;
static struct io_uring_sqe *entries;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void *map(size_t size, off_t offset) {
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, offset);
    if (at == MAP_FAILED) die("mmap");
    return at;
}

static uint32_t *word(char *base, uint32_t offset) { return (uint32_t *)(base + offset); }

// One operation to its end.
static int run(int operation, int socket, void *data, uint64_t length, int flags) {
    uint32_t tail = *word(sq, setup.sq_off.tail), index = tail & *word(sq, setup.sq_off.ring_mask);
    struct io_uring_sqe *entry = &entries[index];
    memset(entry, 0, sizeof *entry);
    entry->opcode = operation;
    entry->fd = socket;
    entry->addr = (uintptr_t)data;
    // The length of an address stands where files have their offset.
    if (operation == IORING_OP_CONNECT) entry->off = length; else entry->len = length;
    entry->flags = flags;
    word(sq, setup.sq_off.array)[index] = index;
    __atomic_store_n(word(sq, setup.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0) die("io_uring_enter");
    uint32_t head = *word(cq, setup.cq_off.head);
    struct io_uring_cqe *all = (struct io_uring_cqe *)(cq + setup.cq_off.cqes);
    int result = all[head & *word(cq, setup.cq_off.ring_mask)].res;
    __atomic_store_n(word(cq, setup.cq_off.head), head + 1, __ATOMIC_RELEASE);
    if (result < 0) {
        errno = -result;
        die("io_uring");
    }
    return result;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    printf("%d\n", getpid());
    ring = syscall(SYS_io_uring_setup, ENTRIES, &setup);
    if (ring < 0) die("io_uring_setup");
    sq = map(setup.sq_off.array + setup.sq_entries * sizeof(uint32_t), IORING_OFF_SQ_RING);
    cq = map(setup.cq_off.cqes + setup.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    entries = map(setup.sq_entries * sizeof *entries, IORING_OFF_SQES);

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(80)};
    inet_pton(AF_INET, arguments[1], &address.sin_addr);
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    char body[512], request[2048], answer[65536];
    int length = snprintf(body, sizeof body, "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"PROMPT-CANARY-51c9\"}]}", arguments[3]);
    length = snprintf(request, sizeof request,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nAuthorization: Bearer %s\r\n"
        "Content-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", arguments[2], length, body);
    // On a worker thread of the kernel, where it can be.
    run(IORING_OP_CONNECT, tcp, &address, sizeof address, IOSQE_ASYNC);
    if (run(IORING_OP_SEND, tcp, request, length, IOSQE_ASYNC) != length) return 1;
    int got = run(IORING_OP_RECV, tcp, answer, sizeof answer, IOSQE_ASYNC), more = got;
    while (more > 0) more = run(IORING_OP_RECV, tcp, answer + got, sizeof answer - got, IOSQE_ASYNC), got += more > 0 ? more : 0;
    return got < 12 || memcmp(answer + 9, "200", 3) != 0;
}
