/**
 * The layout of a compiled rule: one row of 32-bit numbers.
 *
 *     row  0 flags            Row.*
 *          1 protocol
 *          2  3  4  5         source words          6  7  8  9   source mask
 *         10 11 12 13         destination words    14 15 16 17   destination mask
 *         18 source ports     min | max << 16      19 destination ports
 *         20 connection states (StateBit)
 *         21 mark value       22 mark mask         23 index into `matches`, where Row.Matches
 *         24 Op               25 its argument: first row of the chain (Jump, Goto), index into `targets` (Target),
 *                                index into `chains` (End)
 *         26 index into `indexes` plus one where the row's chain has a shortcut, else 0
 */

export const stride = 27;

export const Row = {
  Source: 1,
  SourceNot: 2,
  Destination: 4,
  DestinationNot: 8,
  Protocol: 16,
  ProtocolNot: 32,
  /** A ports match: the header must be whole, else the packet is dropped (hotdrop). */
  Header: 64,
  SourcePort: 128,
  SourcePortNot: 256,
  DestinationPort: 512,
  DestinationPortNot: 1024,
  State: 2048,
  StateNot: 4096,
  Mark: 8192,
  MarkNot: 16384,
  Devices: 32768,
  Matches: 65536,
} as const;

export const Op = {
  Continue: 0,
  Accept: 1,
  Drop: 2,
  Return: 3,
  Jump: 4,
  Goto: 5,
  End: 6,
  Target: 7,
  Undecided: 8,
} as const;
