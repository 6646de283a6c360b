// A program that notices if a probe changes anything: functions with the names and arguments of OpenSSL's that keep
// live data in the red zone below the stack pointer (System V ABI 3.2.2), between them no-operations of five bytes
// that must never carry a probe. `victim check SECONDS` calls them from two threads, with signals, and says how often
// something was not as it has to be; `victim wait STARTED` says how long after STARTED (nanoseconds of the monotonic
// clock) a probe was there.
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#define THREADS 2
#define BUFFER 4096
#define WRONG (-77)
// Bytes of a function in which its probe is looked for.
#define NEAR 96
#define BREAKPOINT 0xcc

typedef int (*call)(void *object, void *buffer, int count, uint64_t *done);
int SSL_write(void *object, void *buffer, int count, uint64_t *done);
int SSL_read(void *object, void *buffer, int count, uint64_t *done);
int SSL_write_ex(void *object, void *buffer, int count, uint64_t *done);
int SSL_read_ex(void *object, void *buffer, int count, uint64_t *done);

// `fill` and `check` use 16 words from `base` downwards, and rax.
__asm__(
    ".text\n"
    ".macro fill base, from, words\n"
    ".set word, \\from*8\n"
    ".rept \\words\n lea word(%rdi,%rsi), %rax\n mov %rax, \\base-word(%rsp)\n .set word, word+8\n .endr\n"
    ".endm\n"
    ".macro check base\n"
    ".set word, 8\n"
    ".rept 16\n lea word(%rdi,%rsi), %rax\n cmp %rax, \\base-word(%rsp)\n jne 9f\n .set word, word+8\n .endr\n"
    ".endm\n"
    ".macro nop5\n .byte 0x0f,0x1f,0x44,0x00,0x00\n .endm\n"
    // The probe goes to the jump, with the red zone live.
    ".globl SSL_write\n .type SSL_write,@function\nSSL_write:\n"
    " endbr64\n fill 0, 1, 2\n test %edx, %edx\n js 9f\n fill 0, 3, 14\n nop5\n check 0\n mov %edx, %eax\n ret\n"
    "9: mov $-77, %eax\n ret\n .size SSL_write, .-SSL_write\n"
    // A no-operation that is no place for a probe comes first.
    ".globl SSL_read\n .type SSL_read,@function\nSSL_read:\n"
    " fill 0, 1, 2\n nop5\n test %edx, %edx\n js 9f\n fill 0, 3, 14\n check 0\n mov %edx, %eax\n ret\n"
    "9: mov $-77, %eax\n ret\n .size SSL_read, .-SSL_read\n"
    // The usual prologue: nothing before it that the kernel emulates.
    ".globl SSL_write_ex\n .type SSL_write_ex,@function\nSSL_write_ex:\n"
    " sub $0x18, %rsp\n fill 0, 1, 16\n mov %rdx, 8(%rsp)\n test %edx, %edx\n js 9f\n nop5\n check 0\n"
    " mov 8(%rsp), %rax\n cmp %rax, %rdx\n jne 9f\n mov %rax, (%rcx)\n add $0x18, %rsp\n mov $1, %eax\n ret\n"
    "9: add $0x18, %rsp\n mov $-77, %eax\n ret\n .size SSL_write_ex, .-SSL_write_ex\n"
    // A push, which the kernel emulates.
    ".globl SSL_read_ex\n .type SSL_read_ex,@function\nSSL_read_ex:\n"
    " push %rbx\n mov %rdx, %rbx\n fill 0, 1, 16\n test %edx, %edx\n js 9f\n nop5\n check 0\n cmp %rbx, %rdx\n jne 9f\n"
    " mov %rbx, (%rcx)\n pop %rbx\n mov $1, %eax\n ret\n"
    "9: pop %rbx\n mov $-77, %eax\n ret\n .size SSL_read_ex, .-SSL_read_ex\n");

static const struct {
    const char *name;
    call function;
    int counts; // through its fourth argument
} FUNCTIONS[] = {{"SSL_write", SSL_write, 0}, {"SSL_read", SSL_read, 0}, {"SSL_write_ex", SSL_write_ex, 1}, {"SSL_read_ex", SSL_read_ex, 1}};
#define COUNT (sizeof FUNCTIONS / sizeof *FUNCTIONS)

static volatile int stop;
static volatile sig_atomic_t signals;

static void ring(int number) { (void)number; signals = signals + 1; }

static uint64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static int probed(call function) { return memchr((const void *)function, BREAKPOINT, NEAR) != NULL; }

struct result { uint64_t calls, wrong; };

static void *work(void *argument) {
    struct result *result = argument;
    unsigned char object[BUFFER], buffer[BUFFER];
    uint64_t state = (uintptr_t)result | 1, expected = 0, sum = 0, bytes = 0;
    for (int i = 0; i < BUFFER; i++) bytes += object[i] = buffer[i] = i * 31;
    while (!stop) {
        state ^= state << 13; state ^= state >> 7; state ^= state << 17;
        int which = state % COUNT, count = 1 + (state >> 8) % (BUFFER - 1);
        uint64_t done = ~0ull;
        int answer = FUNCTIONS[which].function(object, buffer, count, &done);
        int right = FUNCTIONS[which].counts ? answer == 1 && done == (uint64_t)count : answer == count && done == ~0ull;
        expected = expected * 31 + count;
        sum = sum * 31 + (FUNCTIONS[which].counts ? (int)done : answer);
        result->calls++;
        result->wrong += !right;
    }
    for (int i = 0; i < BUFFER; i++) bytes -= object[i] == buffer[i] ? buffer[i] : 0;
    result->wrong += bytes != 0 || sum != expected;
    return NULL;
}

static int check(int seconds) {
    struct result results[THREADS] = {{0}};
    pthread_t threads[THREADS];
    struct itimerval every = {{0, 1000}, {0, 1000}};
    signal(SIGPROF, ring);
    setitimer(ITIMER_PROF, &every, NULL);
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, &results[i]);
    uint64_t end = now(CLOCK_MONOTONIC) + seconds * 1000000000ull;
    struct timespec pause = {0, 10000000};
    int most = 0;
    while (now(CLOCK_MONOTONIC) < end) {
        nanosleep(&pause, NULL);
        int found = 0;
        for (unsigned i = 0; i < COUNT; i++) found += probed(FUNCTIONS[i].function);
        if (found > most) most = found;
    }
    stop = 1;
    uint64_t calls = 0, wrong = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        calls += results[i].calls;
        wrong += results[i].wrong;
    }
    printf("{\"calls\":%lu,\"wrong\":%lu,\"probed\":%d,\"signals\":%d}\n", calls, wrong, most, (int)signals);
    return wrong != 0;
}

static int wait_for(uint64_t started) {
    char buffer[BUFFER] = {0};
    uint64_t done, limit = started + 20000000000ull;
    while (!probed(SSL_write) && now(CLOCK_MONOTONIC) < limit) SSL_write(buffer, buffer, 64, &done);
    printf("{\"ns\":%lu,\"probed\":%d}\n", now(CLOCK_MONOTONIC) - started, probed(SSL_write));
    return 0;
}

int main(int count, char **arguments) {
    if (count == 3 && !strcmp(arguments[1], "check")) return check(atoi(arguments[2]));
    if (count == 3 && !strcmp(arguments[1], "wait")) return wait_for(strtoull(arguments[2], NULL, 10));
    fputs("arguments: check SECONDS, or wait STARTED\n", stderr);
    return 2;
}
