/**
 * Link types: the numbers that are read, and the names of those that are not, so that an error can name them.
 * Source: the LINKTYPE_ registry of tcpdump.org.
 */
export const LinkType = {
  Null: 0,
  Ethernet: 1,
  /** DLT_RAW of most systems; the registry has 101, some writers put their own number in the file. */
  RawBsd: 12,
  /** DLT_RAW of OpenBSD. */
  RawOpenBsd: 14,
  Raw: 101,
  Loop: 108,
  LinuxSll: 113,
  Ipv4: 228,
  Ipv6: 229,
  LinuxSll2: 276,
} as const;

const SUPPORTED: ReadonlySet<number> = new Set(Object.values(LinkType));

const NAMES: ReadonlyMap<number, string> = new Map([
  [0, "NULL"],
  [1, "ETHERNET"],
  [6, "IEEE802_5"],
  [8, "SLIP"],
  [9, "PPP"],
  [10, "FDDI"],
  [12, "RAW"],
  [14, "RAW"],
  [50, "PPP_HDLC"],
  [51, "PPP_ETHER"],
  [100, "ATM_RFC1483"],
  [101, "RAW"],
  [104, "C_HDLC"],
  [105, "IEEE802_11"],
  [107, "FRELAY"],
  [108, "LOOP"],
  [113, "LINUX_SLL"],
  [117, "PFLOG"],
  [119, "IEEE802_11_PRISM"],
  [122, "IP_OVER_FC"],
  [127, "IEEE802_11_RADIOTAP"],
  [129, "ARCNET_LINUX"],
  [138, "APPLE_IP_OVER_IEEE1394"],
  [143, "DOCSIS"],
  [163, "IEEE802_11_AVS"],
  [187, "BLUETOOTH_HCI_H4"],
  [189, "USB_LINUX"],
  [192, "PPI"],
  [195, "IEEE802_15_4_WITHFCS"],
  [201, "BLUETOOTH_HCI_H4_WITH_PHDR"],
  [204, "PPP_WITH_DIR"],
  [205, "C_HDLC_WITH_DIR"],
  [206, "FRELAY_WITH_DIR"],
  [220, "USB_LINUX_MMAPPED"],
  [224, "FC_2"],
  [227, "CAN_SOCKETCAN"],
  [228, "IPV4"],
  [229, "IPV6"],
  [230, "IEEE802_15_4_NOFCS"],
  [231, "DBUS"],
  [239, "NFLOG"],
  [240, "NETANALYZER"],
  [242, "IPOIB"],
  [247, "INFINIBAND"],
  [248, "SCTP"],
  [249, "USBPCAP"],
  [252, "WIRESHARK_UPPER_PDU"],
  [253, "NETLINK"],
  [258, "PKTAP"],
  [271, "VSOCK"],
  [276, "LINUX_SLL2"],
]);

export function linkTypeSupported(linkType: number): boolean {
  return SUPPORTED.has(linkType);
}

/** `PPP (9)`, or `9999` where the number has no name here. */
export function linkTypeText(linkType: number): string {
  const name = NAMES.get(linkType);
  return name === undefined ? String(linkType) : `${name} (${linkType})`;
}
