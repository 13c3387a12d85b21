/*
 * Says what a build tool sees of the host, one `name<tab>value` a line: `cargo xtask verify` runs it on both sides, and counts
 * a variation only where the two answers differ. Arguments: a folder with some files, and a file whose time is asked.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void say_time(const char *name, const char *format, time_t when, struct tm *(*split)(const time_t *))
{
	char text[64] = "";
	strftime(text, sizeof text, format, split(&when));
	printf("%s\t%s\n", name, text);
}

static void say_order(const char *folder)
{
	DIR *dir = opendir(folder);
	printf("order\t");
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (entry->d_name[0] != '.')
			printf("%s ", entry->d_name);
	printf("\n");
	if (dir)
		closedir(dir);
}

static void say_personality(void)
{
	unsigned flags = 0;
	FILE *file = fopen("/proc/self/personality", "r");
	if (file && fscanf(file, "%x", &flags) == 1)
		printf("address-space\t%s\n", flags & 0x0040000 /* ADDR_NO_RANDOMIZE */ ? "fixed" : "random");
	if (file)
		fclose(file);
}

int main(int n_args, char **args)
{
	struct utsname host;
	struct stat file;
	char here[4096];
	size_t n_variables = 0;
	mode_t mask = umask(0);
	while (environ[n_variables])
		n_variables++;
	if (uname(&host) == 0)
		printf("host\t%s\nrelease\t%s\n", host.nodename, host.release);
	const char *home = getenv("HOME"), *locale = setlocale(LC_ALL, "");
	printf("user\t%u\ngroup\t%u\numask\t%04o\n", getuid(), getgid(), mask);
	printf("locale\t%s\nhome\t%s\nvariables\t%zu\n", locale ? locale : "C", home ? home : "", n_variables);
	printf("cores\t%ld\nfolder\t%s\n", sysconf(_SC_NPROCESSORS_ONLN), getcwd(here, sizeof here) ? here : "");
	say_time("clock", "%Y-%m-%d", time(NULL), gmtime);
	say_time("zone", "%Z %z", 0, localtime);
	say_personality();
	if (n_args > 1)
		say_order(args[1]);
	if (n_args > 2 && stat(args[2], &file) == 0)
		say_time("file", "%Y-%m-%d", file.st_mtime, gmtime);
	return 0;
}
