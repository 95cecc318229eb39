/**
 * Conntrack timeouts, in nanoseconds of virtual time: the kernel's defaults, and the sysctls
 * `net.netfilter.nf_conntrack_*` (seconds) that a node sets. kube-proxy sets tcp_timeout_established to 86400
 * and tcp_timeout_close_wait to 3600; that shows in the node's sysctls, not here.
 */
import { SctpState } from "./sctp.js";
import { TcpState } from "./tcp-state.js";

export class Timeouts {
  /** By TcpState. */
  readonly tcp = new Float64Array(10);
  tcpRetrans = 0;
  tcpUnacknowledged = 0;
  udp = 0;
  udpStream = 0;
  icmp = 0;
  icmp6 = 0;
  generic = 0;
  gre = 0;
  greStream = 0;
  /** By SctpState. */
  readonly sctp = new Float64Array(9);

  constructor(sysctls: Readonly<Record<string, string>>) {
    const seconds = (name: string, standard: number): number => {
      const text = sysctls[`net.netfilter.nf_conntrack_${name}`];
      const value = text === undefined ? Number.NaN : Number(text);
      return (Number.isFinite(value) && value >= 0 ? value : standard) * 1e9;
    };
    this.tcp[TcpState.SynSent] = seconds("tcp_timeout_syn_sent", 120);
    this.tcp[TcpState.SynRecv] = seconds("tcp_timeout_syn_recv", 60);
    this.tcp[TcpState.Established] = seconds("tcp_timeout_established", 432000);
    this.tcp[TcpState.FinWait] = seconds("tcp_timeout_fin_wait", 120);
    this.tcp[TcpState.CloseWait] = seconds("tcp_timeout_close_wait", 60);
    this.tcp[TcpState.LastAck] = seconds("tcp_timeout_last_ack", 30);
    this.tcp[TcpState.TimeWait] = seconds("tcp_timeout_time_wait", 120);
    this.tcp[TcpState.Close] = seconds("tcp_timeout_close", 10);
    // nf_conntrack_standalone.c has no sysctl of its own for SYN_SENT2.
    this.tcp[TcpState.SynSent2] = 120e9;
    this.tcpRetrans = seconds("tcp_timeout_max_retrans", 300);
    this.tcpUnacknowledged = seconds("tcp_timeout_unacknowledged", 300);
    this.udp = seconds("udp_timeout", 30);
    this.udpStream = seconds("udp_timeout_stream", 120);
    this.icmp = seconds("icmp_timeout", 30);
    this.icmp6 = seconds("icmpv6_timeout", 30);
    this.generic = seconds("generic_timeout", 600);
    this.gre = seconds("gre_timeout", 30);
    this.greStream = seconds("gre_timeout_stream", 180);
    this.sctp[SctpState.Closed] = seconds("sctp_timeout_closed", 10);
    this.sctp[SctpState.CookieWait] = seconds("sctp_timeout_cookie_wait", 3);
    this.sctp[SctpState.CookieEchoed] = seconds("sctp_timeout_cookie_echoed", 3);
    this.sctp[SctpState.Established] = seconds("sctp_timeout_established", 210);
    this.sctp[SctpState.ShutdownSent] = seconds("sctp_timeout_shutdown_sent", 3);
    this.sctp[SctpState.ShutdownRecd] = seconds("sctp_timeout_shutdown_recd", 3);
    this.sctp[SctpState.ShutdownAckSent] = seconds("sctp_timeout_shutdown_ack_sent", 3);
    this.sctp[SctpState.HeartbeatSent] = seconds("sctp_timeout_heartbeat_sent", 30);
  }
}
