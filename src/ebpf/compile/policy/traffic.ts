/**
 * The part of a policy map key that is not the identity, in one number.
 *
 *   30 bits:  | direction 1 | protocol 8 | port prefix length 5 | port 16 |
 */

/** As in the `egress` bit of the key. */
export const Traffic = { Ingress: 0, Egress: 1 } as const;

export function trafficKey(
  direction: number,
  protocol: number,
  port: number,
  portPrefixLength: number,
): number {
  return (direction << 29) | (protocol << 21) | (portPrefixLength << 16) | port;
}
export const trafficDirection = (traffic: number): number => (traffic >>> 29) & 1;
export const trafficProtocol = (traffic: number): number => (traffic >>> 21) & 0xff;
export const trafficPortPrefixLength = (traffic: number): number => (traffic >>> 16) & 0x1f;
export const trafficPort = (traffic: number): number => traffic & 0xffff;

/** `lpm_prefix_length` of the value: 0 any, 8 protocol, 8 + n with n port bits. */
export function trafficLpmLength(traffic: number): number {
  return trafficProtocol(traffic) === 0 ? 0 : 8 + trafficPortPrefixLength(traffic);
}

/** Whether every packet of `inner` is one of `outer`. */
export function trafficCovers(outer: number, inner: number): boolean {
  if (trafficDirection(outer) !== trafficDirection(inner)) return false;
  const protocol = trafficProtocol(outer);
  if (protocol === 0) return true;
  if (protocol !== trafficProtocol(inner)) return false;
  const length = trafficPortPrefixLength(outer);
  if (length > trafficPortPrefixLength(inner)) return false;
  return length === 0 || (trafficPort(outer) ^ trafficPort(inner)) >>> (16 - length) === 0;
}
