/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kexec-boot: has another kernel take over, at once or when this one crashes
 *
 *   kexec-boot now|crash KERNEL INITRD COMMAND-LINE
 *
 * "crash" only loads it, into memory reserved with crashkernel=.  Exit status:
 * 0 loaded, 1 the kernel refused it; "now" does not come back.
 */
#include <fcntl.h>
#include <linux/kexec.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	unsigned long flags = 0;
	int kernel, initrd;

	if (argc != 5 || (strcmp(argv[1], "now") && strcmp(argv[1], "crash"))) {
		fprintf(stderr,
			"usage: kexec-boot now|crash KERNEL INITRD COMMAND-LINE\n");
		return 125;
	}
	if (!strcmp(argv[1], "crash"))
		flags |= KEXEC_FILE_ON_CRASH;
	kernel = open(argv[2], O_RDONLY);
	initrd = open(argv[3], O_RDONLY);
	if (kernel < 0 || initrd < 0) {
		perror("kexec-boot: cannot open the kernel or the initrd");
		return 125;
	}
	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[4]) + 1,
		    argv[4], flags)) {
		perror("kexec-boot: kexec_file_load");
		return 1;
	}
	if (flags)
		return 0;
	reboot(RB_KEXEC);
	perror("kexec-boot: reboot");
	return 1;
}
