/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file-seal: files whose content a file system decrypts (fscrypt) or checks
 * (fs-verity) when it reads the disk
 *
 *   file-seal encrypt DIRECTORY   adds a key, always the same, to the file system,
 *                                 and what is made in the empty directory from now
 *                                 on is encrypted with it
 *   file-seal unlock MOUNT-POINT  adds that key again
 *   file-seal lock MOUNT-POINT    takes it away, and with it all that is decrypted;
 *                                 nobody may have that open
 *   file-seal verity FILE         makes it read-only and checked
 *
 * Exit status: 0 done, 2 an operation failed, 125 bad usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/fscrypt.h>
#include <linux/fsverity.h>

enum { EXIT_FAILED = 2, EXIT_USAGE = 125 };

static void fail(const char *what)
{
	printf("file-seal: FAILED: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILED);
}

/* Adds the key and says what the file system calls it. */
static struct fscrypt_key_specifier add_key(int fd)
{
	struct {
		struct fscrypt_add_key_arg arg;
		unsigned char raw[FSCRYPT_MAX_KEY_SIZE];
	} key;

	memset(&key, 0, sizeof(key));
	key.arg.key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER;
	key.arg.raw_size = sizeof(key.raw);
	memset(key.raw, 'k', sizeof(key.raw));
	if (ioctl(fd, FS_IOC_ADD_ENCRYPTION_KEY, &key))
		fail("FS_IOC_ADD_ENCRYPTION_KEY");
	return key.arg.key_spec;
}

static void encrypt(int fd)
{
	struct fscrypt_key_specifier key = add_key(fd);
	struct fscrypt_policy_v2 policy = {
		.version = FSCRYPT_POLICY_V2,
		.contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS,
		.filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS,
		.flags = FSCRYPT_POLICY_FLAGS_PAD_32,
	};

	memcpy(policy.master_key_identifier, key.u.identifier,
	       FSCRYPT_KEY_IDENTIFIER_SIZE);
	if (ioctl(fd, FS_IOC_SET_ENCRYPTION_POLICY, &policy))
		fail("FS_IOC_SET_ENCRYPTION_POLICY");
}

static void lock(int fd)
{
	struct fscrypt_remove_key_arg remove = { .key_spec = add_key(fd) };

	if (ioctl(fd, FS_IOC_REMOVE_ENCRYPTION_KEY, &remove))
		fail("FS_IOC_REMOVE_ENCRYPTION_KEY");
	if (remove.removal_status_flags) {
		printf("file-seal: FAILED: the key is not gone: flags %#x\n",
		       remove.removal_status_flags);
		exit(EXIT_FAILED);
	}
}

static void verity(int fd)
{
	struct fsverity_enable_arg enable = {
		.version = 1,
		.hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
		.block_size = 4096,
	};

	if (ioctl(fd, FS_IOC_ENABLE_VERITY, &enable))
		fail("FS_IOC_ENABLE_VERITY");
}

int main(int argc, char **argv)
{
	const char *what = argc == 3 ? argv[1] : "";
	int fd = argc == 3 ? open(argv[2], O_RDONLY) : -1;

	if (argc == 3 && fd < 0)
		fail(argv[2]);
	if (!strcmp(what, "encrypt")) {
		encrypt(fd);
	} else if (!strcmp(what, "unlock")) {
		add_key(fd);
	} else if (!strcmp(what, "lock")) {
		lock(fd);
	} else if (!strcmp(what, "verity")) {
		verity(fd);
	} else {
		fprintf(stderr, "usage: file-seal encrypt DIRECTORY\n"
			"       file-seal unlock|lock MOUNT-POINT\n"
			"       file-seal verity FILE\n");
		return EXIT_USAGE;
	}
	close(fd);
	return 0;
}
