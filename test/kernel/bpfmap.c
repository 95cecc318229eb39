/*
 * Runs map operations on real kernel maps: one command a line on standard input, one answer a line on standard output.
 * Plain bpf(2), no library. Keys and values are hexadecimal.
 *
 *   c TYPE KEY_SIZE VALUE_SIZE MAX_ENTRIES FLAGS INNER   create; INNER: number of the template map, or -1
 *   u MAP FLAGS KEY VALUE                                update
 *   o MAP FLAGS KEY INNER                                update of a map-in-map with the map of that number
 *   l MAP KEY                                            lookup
 *   d MAP KEY                                            delete
 *   w MAP                                                all keys, by get_next_key
 *
 * Answers: a negative errno; for c the map's number; for l the value (of a map-in-map: the number of the inner map);
 * for w the keys; else 0. Maps are numbered in order of their creation.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_MAPS 4096
#define MAX_BYTES 1024

struct known_map {
	int fd;
	__u32 id;
	__u32 type;
	__u32 key_size;
	__u32 value_size;
};

static struct known_map maps[MAX_MAPS];
static int map_count;

static int bpf(int command, union bpf_attr *attr)
{
	long result = syscall(__NR_bpf, command, attr, sizeof(*attr));

	return result < 0 ? -errno : (int)result;
}

static int is_map_in_map(const struct known_map *map)
{
	return map->type == BPF_MAP_TYPE_ARRAY_OF_MAPS || map->type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

static void from_hex(const char *text, unsigned char *bytes)
{
	unsigned int byte;

	for (; sscanf(text, "%2x", &byte) == 1; text += 2)
		*bytes++ = (unsigned char)byte;
}

static void print_hex(const unsigned char *bytes, __u32 size)
{
	for (__u32 i = 0; i < size; i++)
		printf("%02x", bytes[i]);
}

static int create(__u32 type, __u32 key_size, __u32 value_size, __u32 max_entries, __u32 flags, int inner)
{
	union bpf_attr attr;
	struct bpf_map_info info;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = type;
	attr.key_size = key_size;
	attr.value_size = value_size;
	attr.max_entries = max_entries;
	attr.map_flags = flags;
	if (inner >= 0)
		attr.inner_map_fd = maps[inner].fd;
	fd = bpf(BPF_MAP_CREATE, &attr);
	if (fd < 0)
		return fd;

	memset(&info, 0, sizeof(info));
	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (__u64)(unsigned long)&info;
	bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);

	maps[map_count] = (struct known_map){ fd, info.id, type, key_size, value_size };
	return map_count++;
}

static int element(int command, const struct known_map *map, const void *key, void *value, __u64 flags)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = map->fd;
	attr.key = (__u64)(unsigned long)key;
	attr.value = (__u64)(unsigned long)value;
	attr.flags = flags;
	return bpf(command, &attr);
}

static int number_of(__u32 id)
{
	for (int i = 0; i < map_count; i++)
		if (maps[i].id == id)
			return i;
	return -1;
}

static void lookup(const struct known_map *map, const unsigned char *key)
{
	unsigned char value[MAX_BYTES] = { 0 };
	int result = element(BPF_MAP_LOOKUP_ELEM, map, key, value, 0);
	__u32 id;

	if (result < 0) {
		printf("%d", result);
	} else if (is_map_in_map(map)) {
		memcpy(&id, value, sizeof(id));
		printf("%d", number_of(id));
	} else {
		print_hex(value, map->value_size);
	}
}

static void walk(const struct known_map *map)
{
	unsigned char key[MAX_BYTES];
	unsigned char next[MAX_BYTES];
	int result = element(BPF_MAP_GET_NEXT_KEY, map, NULL, next, 0);

	printf("keys");
	while (result == 0) {
		printf(" ");
		print_hex(next, map->key_size);
		memcpy(key, next, map->key_size);
		result = element(BPF_MAP_GET_NEXT_KEY, map, key, next, 0);
	}
	if (result != -ENOENT)
		printf(" %d", result);
}

int main(void)
{
	static char line[8 * MAX_BYTES], key_text[4 * MAX_BYTES], value_text[4 * MAX_BYTES];
	unsigned char key[MAX_BYTES], value[MAX_BYTES];
	unsigned int type, key_size, value_size, max_entries, flags;
	int map, inner;

	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "c %u %u %u %u %u %d", &type, &key_size, &value_size, &max_entries, &flags, &inner) == 6) {
			printf("%d", create(type, key_size, value_size, max_entries, flags, inner));
		} else if (sscanf(line, "u %d %u %s %s", &map, &flags, key_text, value_text) == 4) {
			from_hex(key_text, key);
			from_hex(value_text, value);
			printf("%d", element(BPF_MAP_UPDATE_ELEM, &maps[map], key, value, flags));
		} else if (sscanf(line, "o %d %u %s %d", &map, &flags, key_text, &inner) == 4) {
			/* A number that is no map's becomes a descriptor that is not open. */
			int fd = inner >= 0 && inner < map_count ? maps[inner].fd : 1000000;

			from_hex(key_text, key);
			printf("%d", element(BPF_MAP_UPDATE_ELEM, &maps[map], key, &fd, flags));
		} else if (sscanf(line, "l %d %s", &map, key_text) == 2) {
			from_hex(key_text, key);
			lookup(&maps[map], key);
		} else if (sscanf(line, "d %d %s", &map, key_text) == 2) {
			from_hex(key_text, key);
			printf("%d", element(BPF_MAP_DELETE_ELEM, &maps[map], key, NULL, 0));
		} else if (sscanf(line, "w %d", &map) == 1) {
			walk(&maps[map]);
		} else {
			fprintf(stderr, "not understood: %s", line);
			return 1;
		}
		printf("\n");
	}
	return 0;
}
