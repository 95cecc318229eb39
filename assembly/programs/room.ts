/**
 * Where a packet lies that grew in front: with a tunnel's headers, or with an option in its own. One at a time, as there
 * is one packet under way; what is there already may be moved by `memory.copy`, which takes ranges that overlap.
 */
export const ROOM: usize = memory.data(65536 + 128, 16);
