/*
 * A host that is otherwise, for programs that load this library (LD_PRELOAD): `cargo xtask verify` builds with it, so that a
 * clock, a folder's order, a core count or a kernel's release that reaches an artifact shows as a difference. What a namespace
 * or an environment can vary is not done here.
 *
 * Not reached: programs that are linked statically, such as Go's tools; what glibc calls inside itself (scandir, glob, nftw and
 * fts of libc); system calls made without libc; what is read from /proc. The times of files are the kernel's, and true. Who
 * waits for a moment on the wall's clock (pthread_cond_timedwait, sem_timedwait) would wait for years; no build tool here does.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* Nine years and some days, in seconds: another year, month, day and weekday. */
#define AHEAD (3333L * 24 * 60 * 60)
/* A prime that few hosts have: what is divided by it comes out uneven. */
#define N_CORES 7

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* The clock on the wall. The others count from a start, which no two hosts share anyway; and programs wait by them. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
	int result = REAL(clock_gettime)(clock, now);
	if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI))
		now->tv_sec += AHEAD;
	return result;
}

/* The same clock, as older programs ask for it. */
int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	int result = REAL(gettimeofday)(now, zone);
	if (result == 0)
		now->tv_sec += AHEAD;
	return result;
}

/* The same clock, as gcc asks for __DATE__. */
time_t time(time_t *now)
{
	struct timespec precise;
	clock_gettime(CLOCK_REALTIME, &precise);
	if (now)
		*now = precise.tv_sec;
	return precise.tv_sec;
}

/* An open folder whose entries were all read, to be given out from the last to the first. */
struct folder {
	DIR *dir;
	struct dirent **entries;
	size_t n_entries, n_given;
	int error;
	struct folder *next;
};

static struct folder *folders;
static pthread_mutex_t folders_lock = PTHREAD_MUTEX_INITIALIZER;

static void forget(DIR *dir)
{
	pthread_mutex_lock(&folders_lock);
	for (struct folder **place = &folders; *place; place = &(*place)->next) {
		struct folder *found = *place;
		if (found->dir != dir)
			continue;
		*place = found->next;
		while (found->n_entries)
			free(found->entries[--found->n_entries]);
		free(found->entries);
		free(found);
		break;
	}
	pthread_mutex_unlock(&folders_lock);
}

static struct dirent *copy(const struct dirent *entry)
{
	/* Some callers copy a whole struct, however short the name. */
	size_t size = entry->d_reclen > sizeof *entry ? entry->d_reclen : sizeof *entry;
	struct dirent *new = calloc(1, size);
	if (new)
		memcpy(new, entry, entry->d_reclen);
	return new;
}

static struct folder *read_all(DIR *dir)
{
	struct folder *new = calloc(1, sizeof *new);
	if (!new)
		return NULL;
	new->dir = dir;
	errno = 0;
	for (struct dirent *entry; (entry = REAL(readdir)(dir)); errno = 0) {
		struct dirent **more = realloc(new->entries, (new->n_entries + 1) * sizeof *more);
		if (more)
			new->entries = more;
		if (!more || !(more[new->n_entries] = copy(entry))) {
			errno = ENOMEM;
			break;
		}
		new->n_entries++;
	}
	new->error = errno;
	new->next = folders;
	return folders = new;
}

static struct folder *find(DIR *dir)
{
	for (struct folder *one = folders; one; one = one->next)
		if (one->dir == dir)
			return one;
	return read_all(dir);
}

/* The order of a folder is that of a hash of its file system, or that in which it was filled. */
struct dirent *readdir(DIR *dir)
{
	int before = errno;
	struct dirent *entry = NULL;
	pthread_mutex_lock(&folders_lock);
	struct folder *folder = find(dir);
	if (!folder) {
		before = ENOMEM;
	} else if (folder->n_given < folder->n_entries) {
		entry = folder->entries[folder->n_entries - ++folder->n_given];
	} else if (folder->error) {
		before = folder->error;
	}
	pthread_mutex_unlock(&folders_lock);
	errno = before;
	return entry;
}

/* The same struct where a file's offset has 64 bits. */
struct dirent64 *readdir64(DIR *dir)
{
	_Static_assert(sizeof(struct dirent) == sizeof(struct dirent64), "one layout");
	return (struct dirent64 *)readdir(dir);
}

/* A place in a folder is a count of the entries that were given out. */
long telldir(DIR *dir)
{
	pthread_mutex_lock(&folders_lock);
	struct folder *folder = find(dir);
	long place = folder ? (long)folder->n_given : -1;
	pthread_mutex_unlock(&folders_lock);
	return place;
}

/* Goes where telldir said. */
void seekdir(DIR *dir, long place)
{
	pthread_mutex_lock(&folders_lock);
	struct folder *folder = find(dir);
	if (folder && place >= 0 && (size_t)place <= folder->n_entries)
		folder->n_given = (size_t)place;
	pthread_mutex_unlock(&folders_lock);
}

/* The folder is read anew. */
void rewinddir(DIR *dir)
{
	forget(dir);
	REAL(rewinddir)(dir);
}

/* Another folder may get the same address. */
int closedir(DIR *dir)
{
	forget(dir);
	return REAL(closedir)(dir);
}

/* What cargo, rustc and nproc count. How many jobs run at once is the jobserver's say, not theirs. */
int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
	(void)pid;
	if (CPU_ALLOC_SIZE(N_CORES) > size) {
		errno = EINVAL;
		return -1;
	}
	CPU_ZERO_S(size, set);
	for (size_t core = 0; core < N_CORES; core++)
		CPU_SET_S(core, size, set);
	return 0;
}

/* What others count. */
long sysconf(int name)
{
	return name == _SC_NPROCESSORS_ONLN || name == _SC_NPROCESSORS_CONF ? N_CORES : REAL(sysconf)(name);
}

/* glibc's own way to ask, and the next one. */
int get_nprocs(void)
{
	return N_CORES;
}

int get_nprocs_conf(void)
{
	return N_CORES;
}

/* Configuration scripts look at the running kernel, which is not the one that is built. */
int uname(struct utsname *name)
{
	int result = REAL(uname)(name);
	if (result == 0) {
		strcpy(name->release, "5.4.3-otherwise");
		strcpy(name->version, "#7 otherwise");
	}
	return result;
}
