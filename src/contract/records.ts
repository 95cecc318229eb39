/**
 * Structs that pass between host and module beside the maps: frames and what became of them, steps, faults, and how
 * the module keeps its maps. None of them is Cilium's. The conventions are those of structs.ts.
 */
import { be16, bytes, struct, u8, u16, u32 } from "./layout.js";

const address = bytes(16);

/** One record of the ring buffer cilium_events, written only by the module built with TRACE=1. */
export const StepRecord = struct("StepRecord", "One decision of a program.", {
  frame: [u32, "row in the block"],
  node: [u16, "node"],
  program: [u8, "Program"],
  kind: [u8, "StepKind"],
  map: [u16, "number of the map; 0xFFFF: none"],
  key_size: [u16, "bytes of `key` in use"],
  result: [u32, "by kind: 1 hit / 0 miss, a verdict, a code; negative numbers as two's complement"],
  cookie: [u32, "rule set of the entry found"],
  argument: [u32, "by kind"],
  key: [bytes(48), "key looked up, or up to 48 bytes of what the step is about"],
});

/** Where an assertion of the module failed. Texts are UTF-16 in the module's memory. */
export const FaultRecord = struct("FaultRecord", "The last abort.", {
  raised: [u32, "1: abort() was called"],
  message: [u32, "address; 0: none"],
  message_bytes: [u32, "length"],
  file: [u32, "address; 0: none"],
  file_bytes: [u32, "length"],
  line: [u32, "line"],
  column: [u32, "column"],
  frame: [u32, "row of the block under way"],
});

// ---- frames --------------------------------------------------------------------------------------------------

export const FrameRecord = struct("FrameRecord", "A row of a FrameBlock, going in.", {
  offset: [u32, "address of the network header in the module's memory"],
  length: [u32, "captured bytes from there"],
  wire_length: [u32, "bytes on the wire from there"],
  ether_type: [u16, "host order"],
  packet_type: [u8, "PacketType"],
  pad: [u8, "zero"],
  device: [u32, "ifindex where it enters; 0: a process of the node"],
  node: [u16, "node"],
  vlan_id: [u16, "identifier of a tag that the device took off and no VLAN device takes; 0: no tag, or a priority alone"],
  seconds: [u32, "time since the plane's epoch: seconds"],
  nanoseconds: [u32, "and nanoseconds"],
  pin: [u32, "address of a PinRecord; 0: none"],
  mark: [u32, "skb mark"],
});

export const PinRecord = struct("PinRecord", "A choice seen in the capture.", {
  backend: [address, "backend address"],
  backend_port: [be16, "backend port"],
  source_port: [be16, "source port or ICMP identifier after SNAT"],
  flags: [u32, "PinFlag: which of the fields are given"],
});

export const OutcomeRecord = struct("OutcomeRecord", "What became of a row.", {
  end: [u8, "End"],
  flags: [u8, "bit 0: pin taken; bit 1: pin refused"],
  reason: [u16, "DropReason, MetricReason or UndecidedReason by `end`"],
  first_emission: [u32, "index of the first EmissionRecord"],
  emissions: [u32, "how many"],
  journey: [u32, "hash of what was decided and why: equal for packets that fared alike"],
  cookie: [u32, "rule set of the deciding policy entry"],
  before: [u32, "rule set of the entry that the decision before it was made by: the sender's egress, say; 0: none"],
  service: [u32, "rev_nat_index of the service used; 0: none"],
  backend: [u32, "backend chosen or kept; 0: none"],
  program: [u32, "Program that decided"],
  src_sec_id: [u32, "source identity at the decision"],
  dst_sec_id: [u32, "destination identity at the decision"],
});

export const StackRecord = struct("StackRecord", "A packet that waits for the host to walk it through its node's kernel.", {
  offset: [u32, "address of the network header in the module's memory"],
  length: [u32, "captured bytes from there"],
  wire_length: [u32, "bytes on the wire from there"],
  ether_type: [u16, "host order"],
  packet_type: [u8, "PacketType"],
  local: [u8, "1: a process of the node sends it; 0: it came in by `device`"],
  device: [u32, "ifindex where it came in"],
  node: [u16, "node"],
  pad: [u16, "zero"],
  mark: [u32, "skb mark"],
});

export const EmissionRecord = struct("EmissionRecord", "A wire image of a row.", {
  node: [u16, "node"],
  kind: [u8, "Emission"],
  made: [u8, "1: made by the dataplane, not the frame itself"],
  device: [u32, "ifindex"],
  offset: [u32, "address of the network header in the module's memory"],
  length: [u32, "bytes"],
});

// ---- maps themselves -----------------------------------------------------------------------------------------

/** A share of a map: one node's entries, one inner map, or the whole map where there is only one share. */
export const MapPartition = struct("MapPartition", "Count, limit and list of a share of a map.", {
  first: [u32, "slot number plus one of the entry used last; 0: empty"],
  last: [u32, "slot number plus one of the entry used longest ago; 0: empty"],
  count: [u32, "entries now"],
  limit: [u32, "max_entries of this share; 0: an inner map that does not exist"],
  references: [u32, "inner map: places of the outer map that hold it"],
  free: [u32, "inner map that does not exist: the next such number; 0: none"],
});

/** Made by `map_create` and `map_reserve` of the module; read by the host only to compare it with the contract. */
export const MapDescriptor = struct("MapDescriptor", "Kind, sizes, places and counts of a map.", {
  kind: [u32, "MapKind; 0: not created"],
  key_size: [u32, "bytes"],
  value_size: [u32, "bytes"],
  max_entries: [u32, "limit of each partition; a ring buffer's bytes, a power of two"],
  node_offset: [u32, "offset of the key's node number; NotPartitioned where there is none"],
  partitions: [u32, "1, or the number of nodes, or one more than the number of inner maps"],
  slots: [u32, "entries that memory is reserved for, all partitions together"],
  slot_size: [u32, "bytes from one slot to the next"],
  value_offset: [u32, "bytes from a slot to its value"],
  count: [u32, "entries now, all partitions together"],
  groups: [u32, "tag groups"],
  tags: [u32, "address of the tag groups"],
  data: [u32, "address of slot 0"],
  links: [u32, "address of each slot's {previous, next}; 0: entries are not listed"],
  heads: [u32, "address of the MapPartitions"],
  lengths: [u32, "LPM: address of each partition's prefix lengths in use"],
  lengths_size: [u32, "LPM: bytes of that for one partition"],
  inner: [u32, "map-in-map: address of the descriptor that all its inner maps share; 0: none"],
  evicted: [u32, "LRU: entries evicted since load"],
  exhausted: [u32, "inserts refused because the reserved memory was used up, not the map's own limit"],
  producer: [u32, "ring buffer: bytes ever written, modulo 2^32"],
  consumer: [u32, "ring buffer: bytes ever read, modulo 2^32"],
  dropped: [u32, "ring buffer: records refused because it was full"],
  unused: [u32, "inner maps: the lowest number never used"],
  free: [u32, "inner maps: first number that is free again; 0: none"],
  pad: [u32, "zero"],
});
