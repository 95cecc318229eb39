/*
 * Programs of our own under the names and sections that Cilium's have, to test the harness without any of its code. What each does
 * is known: a pod's way out drops everything as denied by policy (133), noting it where Cilium does; its way in passes the frame
 * on with its TTL one less through a tail call; the device's programs show what the harness put in the place of time, chance and
 * redirects.
 */
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, value) __typeof__(value) *name
#define ATOMIC_NOINLINE __attribute__((noinline))

struct __sk_buff {
	__u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority, ingress_ifindex, ifindex, tc_index;
	__u32 cb[5], hash, tc_classid, data, data_end;
};

static void *(*lookup)(void *map, const void *key) = (void *)1;
static long (*update)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static __u64 (*now)(void) = (void *)5;
static __u32 (*draw)(void) = (void *)7;
static long (*tail_call)(void *ctx, void *map, __u32 index) = (void *)12;
static long (*redirect)(__u32 ifindex, __u64 flags) = (void *)23;

struct metrics_key {
	__u8 reason;
	__u8 dir : 2, pad : 6;
	__u16 line;
	__u8 file, reserved[3];
};

struct metrics_value {
	__u64 count, bytes;
};

struct {
	__uint(type, 5);
	__type(key, struct metrics_key);
	__type(value, struct metrics_value);
	__uint(max_entries, 1024);
	__uint(map_flags, 1);
} cilium_metrics SEC(".maps");

struct ipv4_ct_tuple {
	__be32 daddr, saddr;
	__be16 dport, sport;
	__u8 nexthdr, flags;
} __attribute__((packed));

struct ct_entry {
	__u64 reserved, backend_id, packets, bytes;
	__u32 lifetime;
	__u16 rx_closing : 1, tx_closing : 1, rest : 14;
	__u16 rev_nat_index;
	__be16 nat_port;
	__u8 tx_flags_seen, rx_flags_seen;
	__u32 src_sec_id, last_tx_report, last_rx_report;
};

struct {
	__uint(type, 9);
	__type(key, struct ipv4_ct_tuple);
	__type(value, struct ct_entry);
	__uint(max_entries, 128);
} cilium_ct4_global SEC(".maps");

struct {
	__uint(type, 3);
	__uint(key_size, 4);
	__uint(max_entries, 8);
	__uint(value_size, 4);
} cilium_calls SEC(".maps");

SEC(".rodata.config") volatile const __u32 __config_security_label;
SEC(".rodata.config") volatile const __u16 __config_endpoint_id;

SEC("tc/entry") int cil_from_container(struct __sk_buff *ctx)
{
	struct metrics_key key = { .reason = 133, .dir = 2 };
	struct metrics_value value = { .count = 1, .bytes = ctx->len };

	update(&cilium_metrics, &key, &value, 0);
	return 2;
}

static ATOMIC_NOINLINE int less(struct __sk_buff *ctx)
{
	__u8 *data = (__u8 *)(long)ctx->data;

	if (data + 34 > (__u8 *)(long)ctx->data_end)
		return -1;
	data[22] -= 1;
	return 0;
}

__attribute__((btf_decl_tag("tail:cilium_calls/3"))) SEC("tc/tail") int tail_less(struct __sk_buff *ctx)
{
	return less(ctx);
}

SEC("tc/entry") int cil_to_container(struct __sk_buff *ctx)
{
	tail_call(ctx, &cilium_calls, 3);
	return 2;
}

SEC("tc/entry") int cil_from_netdev(struct __sk_buff *ctx)
{
	ctx->mark = draw();
	return (int)redirect(__config_security_label, 1);
}

SEC("tc/entry") int cil_to_netdev(struct __sk_buff *ctx)
{
	struct ipv4_ct_tuple key = { .daddr = 0x0100007f, .saddr = 0x0200007f, .dport = 0x5000, .sport = 0x409c, .nexthdr = 6 };
	struct ct_entry entry = { .lifetime = (__u32)(now() / 1000000000) + 60, .src_sec_id = __config_endpoint_id, .rx_closing = 1 };

	if (lookup(&cilium_ct4_global, &key))
		return 2;
	update(&cilium_ct4_global, &key, &entry, 0);
	return 0;
}

SEC("license") char licence[] = "Dual BSD/GPL";
