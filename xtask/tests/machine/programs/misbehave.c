/* Does what its arguments say, and behaves as badly as a program can.
 *
 * `misbehave STEP WORD... then STEP WORD...`: its first run takes the first step, the second run the next one, and every
 * later run the last. What it prints in the name of a test begins with `it: `. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char **words; /* those of this step, after its name */
static int n_words;

static int number(int i) {
    return i < n_words ? atoi(words[i]) : 0;
}

static void say(const char *text) {
    printf("it: %s\n", text);
    fflush(stdout);
}

static void nap(int milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* How often the program was started before. /run stays when a program ends. */
static int n_runs_before(void) {
    struct stat file;
    int runs = open("/run/runs", O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (runs < 0 || write(runs, ".", 1) != 1 || fstat(runs, &file)) return 0;
    close(runs);
    return file.st_size - 1;
}

/* Ends by a signal. glibc keeps some signals to itself, the kernel does not. */
static void die_of(int sig) {
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
}

static void forever(void) {
    for (;;) pause();
}

/* Processes that are neither the kernel's, nor PID 1, nor this one. */
static int n_others(void) {
    int n = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; (entry = readdir(proc));) {
        int pid = atoi(entry->d_name), parent = 0;
        char path[64], text[512];
        if (pid <= 2 || pid == getpid()) continue;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *stat = fopen(path, "r");
        if (!stat) continue;
        text[fread(text, 1, sizeof text - 1, stat)] = 0;
        fclose(stat);
        char *end = strrchr(text, ')'); /* the name may hold anything */
        if (end && sscanf(end, ") %*c %d", &parent) == 1 && parent != 2) n++;
    }
    closedir(proc);
    return n;
}

/* Makes orphans, a wave at a time; all of a wave die at the same moment. Then counts who is left. */
static int orphans(void) {
    int n = number(0), wave = 250;
    double start = now();
    for (int made = 0; made < n; made += wave) {
        int gate[2], status = 0;
        char byte;
        if (pipe(gate)) return 10;
        int parent = fork();
        if (parent < 0) return 11;
        if (!parent) {
            close(gate[1]);
            for (int i = 0; i < wave && i < n - made; i++) {
                int orphan = fork();
                if (orphan < 0) _exit(12);
                if (!orphan) _exit(read(gate[0], &byte, 1)); /* when everybody has closed the other end */
            }
            _exit(0);
        }
        waitpid(parent, &status, 0);
        if (status) return 12;
        close(gate[0]);
        close(gate[1]);
    }
    double made_by = now();
    while (n_others() && now() < made_by + 10) nap(1);
    printf("it: %d orphans in %.1f s; left %.3f s later: %d\n", n, made_by - start, now() - made_by, n_others());
    return n_others() ? 13 : 0;
}

/* Forks without bound, and so do the children; they ignore TERM. */
static void breed(void) {
    signal(SIGTERM, SIG_IGN);
    for (;;)
        if (fork() < 0) sched_yield();
}

static int bomb(void) {
    while (fork() >= 0) /* until there is no room for another */
        if (getppid() != 1) breed();
    say("no more processes");
    if (n_words && !strcmp(words[0], "stop")) {
        signal(SIGTERM, SIG_IGN);
        kill(1, SIGUSR2);
        breed();
    }
    return 3;
}

/* Takes all memory, and uses it. */
static void fill(void) {
    say("filling memory");
    for (;;) {
        char *piece = malloc(1 << 20);
        if (piece) memset(piece, 1, 1 << 20);
    }
}

static int flood(void) {
    static char line[1000];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    for (long left = number(0) * 1000L; left > 0; left--)
        if (fwrite(line, sizeof line, 1, stdout) != 1) return 10;
    for (int i = 1; i <= 9; i++) printf("it: last line %d\n", i);
    return fflush(stdout) ? 11 : 5;
}

/* Goes on without streams. */
static int closed(void) {
    for (int stream = 0; stream <= 2; stream++) close(stream);
    nap(300);
    if (printf("nobody hears this\n") < 0) return 10;
    if (fflush(stdout) == 0) return 11;
    return open("/run/still-here", O_CREAT | O_WRONLY, 0644) == 0 ? 6 : 12;
}

/* Every run ends in another way: every status, then every signal that kills. */
static int every_end(int run) {
    if (run <= 255) return run;
    for (int sig = 1, n = run - 256; sig <= 64; sig++) {
        int lives = sig == SIGCHLD || sig == SIGCONT || sig == SIGURG || sig == SIGWINCH;
        int stops = sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
        if (!lives && !stops && n-- == 0) die_of(sig);
    }
    say("there is no other end");
    kill(1, SIGUSR2);
    forever();
    return 0;
}

static volatile sig_atomic_t heard;

static void hear(int sig) {
    heard = sig;
}

/* Sends signals to PID 1, and waits until each comes back. */
static int echo(void) {
    for (int i = 0; i < n_words; i++) {
        double start = now();
        heard = 0;
        signal(number(i), hear);
        kill(1, number(i));
        while (heard != number(i) && now() < start + 20) nap(1);
        if (heard != number(i)) return 10;
        printf("it: %d came back\n", heard);
    }
    return 0;
}

static void obey(int sig) {
    (void)sig;
    write(1, "it: asked to end\n", 17);
    _exit(9);
}

/* Sends one signal to PID 1, and ends with status 9 when it is asked to. */
static int tell(void) {
    signal(SIGTERM, obey);
    kill(1, number(0));
    forever();
    return 0;
}

static int stubborn(void) {
    signal(SIGTERM, SIG_IGN);
    say("deaf");
    kill(1, SIGUSR2);
    forever();
    return 0;
}

/* Ends, and leaves behind who does not want to. */
static int leave_behind(void) {
    for (int i = 0; i < 3; i++)
        if (!fork()) {
            signal(SIGTERM, SIG_IGN);
            if (i) setsid();
            forever();
        }
    return number(0);
}

/* Opens files until there can be no more: as nobody, for root is refused none before the memory is full. */
static int files(void) {
    struct rlimit most = {1 << 20, 1 << 20};
    int n_files = 0;
    setrlimit(RLIMIT_NOFILE, &most);
    if (setuid(65534)) return 10;
    while (open("/dev/null", O_RDONLY) >= 0) n_files++;
    printf("it: no more files: %s after %d\n", strerror(errno), n_files);
    return 3;
}

/* Fills the folders that are memory; what is in it stays when the program ends. */
static int fill_folders(void) {
    static char piece[1 << 16];
    const char *names[] = {"/tmp/full", "/run/full"};
    for (int i = 0; i < 2; i++) {
        long n_pieces = 0;
        int file = open(names[i], O_WRONLY | O_CREAT, 0644);
        while (write(file, piece, sizeof piece) > 0) n_pieces++;
        printf("it: %s has %ld kB: %s\n", names[i], n_pieces * 64, strerror(errno));
        fflush(stdout);
    }
    return 3;
}

/* Puts another file in its own place. */
static int replace(char *self) {
    if (!strcmp(words[0], "nothing")) return unlink(self) ? 10 : 1;
    if (!strcmp(words[0], "folder")) return unlink(self) || mkdir(self, 0755) ? 10 : 1;
    if (!strcmp(words[0], "mode")) return chmod(self, 0644) ? 10 : 1;
    return rename(words[0], self) ? 10 : 1;
}

/* Reads lines; Ctrl-C ends it with status 7. */
static void interrupted(int sig) {
    (void)sig;
    write(1, "it: interrupted\n", 16);
    _exit(7);
}

static int listen_to_people(void) {
    char line[256];
    signal(SIGINT, interrupted);
    say(isatty(0) && isatty(1) && isatty(2) ? "say something" : "no terminal");
    while (fgets(line, sizeof line, stdin)) {
        printf("it: heard %s", line);
        fflush(stdout);
    }
    return 8;
}

static int talk(void) {
    for (int i = 1; i <= number(0); i++) printf("it: line %d\n", i);
    return number(1);
}

int main(int n, char **args) {
    int run = n_runs_before(), first = 1, last;
    for (int skip = run;; skip--) {
        for (last = first; last < n && strcmp(args[last], "then"); last++) {}
        if (!skip || last >= n) break;
        first = last + 1;
    }
    words = args + first + 1;
    n_words = last - first - 1;
    const char *step = first < last ? args[first] : "";
    if (!strcmp(step, "exit")) return number(0);
    if (!strcmp(step, "die")) die_of(number(0));
    if (!strcmp(step, "sleep")) return nap(number(0)), number(1);
    if (!strcmp(step, "forever")) forever();
    if (!strcmp(step, "talk")) return talk();
    if (!strcmp(step, "orphans")) return orphans();
    if (!strcmp(step, "bomb")) return bomb();
    if (!strcmp(step, "fill")) fill();
    if (!strcmp(step, "fill-folders")) return fill_folders();
    if (!strcmp(step, "flood")) return flood();
    if (!strcmp(step, "closed")) return closed();
    if (!strcmp(step, "every-end")) return every_end(run);
    if (!strcmp(step, "echo")) return echo();
    if (!strcmp(step, "tell")) return tell();
    if (!strcmp(step, "stubborn")) return stubborn();
    if (!strcmp(step, "leave-behind")) return leave_behind();
    if (!strcmp(step, "files")) return files();
    if (!strcmp(step, "replace")) return replace(args[0]);
    if (!strcmp(step, "listen")) return listen_to_people();
    for (int i = 0; !strcmp(step, "at-pid-1") && i < n_words; i++) {
        kill(1, number(i));
        nap(50);
    }
    return 0;
}
