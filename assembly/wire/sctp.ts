/**
 * SCTP common header (RFC 9260). Ports lie where TCP and UDP have theirs; the checksum is a CRC32c over
 * header and chunks, without a pseudo header, so an address may change and a port may not (Cilium drops with
 * 154).
 *
 *     0     2     4                  8          12
 *     +-----+-----+------------------+----------+
 *     |sport|dport| verification tag | checksum |
 *     +-----+-----+------------------+----------+
 */
export class Sctp {
  static readonly LENGTH: i32 = 12;
}
