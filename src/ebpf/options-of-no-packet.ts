/**
 * Options that touch no packet of a running cluster: the agent's health, its API and logs, where pods' addresses come from,
 * Hubble, settings of proxies and of the operator, and such as say more about an option that is undecided by itself.
 *
 * Names are flags of pkg/ and daemon/ and keys of install/kubernetes/cilium/templates/cilium-configmap.yaml, of any of the
 * five trees (1.16 to 1.20).
 */
export const OF_NO_PACKET: ReadonlySet<string> = new Set(`
  agent-health-port agent-health-require-k8s-connectivity agent-labels agent-liveness-update-interval agent-not-ready-taint-key
  alibabacloud-security-group-tags alibabacloud-security-groups alibabacloud-vswitch-tags alibabacloud-vswitches
  allocator-list-timeout allow-unsafe-policy-skb-usage annotate-k8s-node api-rate-limit arping-refresh-period
  auto-create-cilium-node-resource auto-create-cilium-pod-ip-pools auto-direct-node-routes aws-enable-prefix-delegation
  aws-release-excess-ips azure-interface-name azure-use-primary-address azure-user-assigned-identity-id bgp-announce-lb-ip
  bgp-announce-pod-cidr bgp-config-path bgp-router-id-allocation-ip-pool bgp-router-id-allocation-mode bgp-secrets-namespace
  boot-id-file bpf-auth-map-max bpf-conntrack-accounting bpf-distributed-lru bpf-events-default-burst-limit
  bpf-events-default-rate-limit bpf-events-drop-enabled bpf-events-policy-verdict-enabled bpf-events-trace-enabled
  bpf-filter-priority bpf-lb-sock-terminate-pod-connections bpf-map-dynamic-size-ratio bpf-map-event-buffers bpf-neigh-global-max
  bpf-node-map-max bpf-policy-map-full-reconciliation-interval bpf-policy-map-pressure-metrics-threshold bpf-policy-stats-map-max
  bpf-root bpf-sock-rev-map-max bypass-ip-availability-upon-restore certificates-directory ces-rate-limits ces-slice-mode
  cgroup-root cilium-endpoint-gc-interval clean-cilium-bpf-state clean-cilium-state cluster-health-port cluster-pool-ipv4-cidr
  cluster-pool-ipv4-mask-size cluster-pool-ipv6-cidr cluster-pool-ipv6-mask-size clustermesh-cache-ttl clustermesh-config
  clustermesh-default-global-namespace clustermesh-enable-endpoint-sync clustermesh-enable-mcs-api
  clustermesh-ip-identities-sync-timeout clustermesh-mcs-api-install-crds clustermesh-service-v2 clustermesh-sync-timeout
  cni-chaining-target cni-exclusive cni-external-routing cni-log-file cni-uninstall config config-dir config-sources
  config-sources-overrides connectivity-probe-frequency-ratio container-ip-local-reserved-ports controller-group-metrics
  crd-wait-timeout custom-cni-conf datapath-plugins-state-dir debug debug-verbose direct-routing-skip-unreachable
  disable-drain-on-disconnection disable-endpoint-crd disable-envoy-version-check dns-max-ips-per-restored-rule
  dns-policy-unload-on-shutdown dnsproxy-concurrency-limit dnsproxy-concurrency-processing-grace-period
  dnsproxy-enable-transparent-mode dnsproxy-insecure-skip-transparent-mode-check dnsproxy-lock-count dnsproxy-lock-timeout
  dnsproxy-socket-linger-timeout dynamic-lifecycle-config ec2-api-endpoint egress-gateway-policy-map-max
  egress-gateway-reconciliation-trigger-interval egress-multi-home-ip-rule-compat enable-auto-protect-node-port-range enable-bbr
  enable-bbr-hostns-only enable-bgp-control-plane enable-bgp-control-plane-status-report enable-bgp-legacy-origin-attribute
  enable-bpf-clock-probe enable-cilium-endpoint-slice enable-ciliumnode-crd enable-drift-checker
  enable-dynamic-config enable-dynamic-lifecycle-manager enable-endpoint-health-checking enable-gateway-api-alpn
  enable-gateway-api-app-protocol enable-gateway-api-proxy-protocol enable-gateway-api-secrets-sync enable-gops
  enable-health-checking enable-heartbeat enable-hubble enable-hubble-open-metrics enable-hubble-recorder-api
  enable-ingress-proxy-protocol enable-ingress-secrets-sync enable-ipsec-encrypted-overlay enable-ipsec-key-watcher
  enable-ipsec-xfrm-state-caching enable-ipv4-big-tcp enable-ipv6-big-tcp enable-k8s-api-discovery enable-k8s-endpoint-slice
  enable-l2-announcements enable-l2-neigh-discovery enable-l2-pod-announcements enable-lb-ipam enable-local-redirect-policy
  enable-metrics enable-mke enable-monitor enable-node-ipam enable-packetization-layer-pmtud enable-policy-secrets-sync
  enable-recorder enable-route-mtu-for-cni-chaining enable-runtime-device-detection enable-stale-cilium-endpoint-cleanup
  enable-standalone-dns-proxy enable-statedb-neighbor-sync enable-tcx enable-tracing enable-tunnel-big-tcp
  enable-well-known-identities enable-wireguard-userspace-fallback enable-xt-socket-fallback encrypt-interface
  encryption-strict-egress-allow-remote-node-identities encryption-strict-egress-cidr
  encryption-strict-mode-allow-remote-node-identities encryption-strict-mode-cidr endpoint-bpf-prog-watchdog-interval
  endpoint-gc-interval endpoint-policy-update-timeout endpoint-queue-size endpoint-regen-interval enforce-ingress-https
  eni-delete-on-termination eni-disable-prefix-delegation eni-exclude-interface-tags eni-first-interface-index eni-gc-interval
  eni-gc-tags eni-security-group-tags eni-security-groups eni-subnet-ids eni-subnet-tags eni-tags eni-use-primary-address
  envoy-access-log-buffer-size envoy-access-log-enabled envoy-base-id envoy-config-retry-interval envoy-config-timeout
  envoy-default-log-level envoy-http-upstream-linger-timeout envoy-keep-cap-netbindservice envoy-log envoy-node-locality-enabled
  envoy-policy-restore-timeout envoy-secrets-namespace etcd-config exclude-node-label-patterns external-envoy-proxy
  force-device-detection fqdn-regex-compile-lru-size gateway-api-hostnetwork-enabled gateway-api-hostnetwork-nodelabelselector
  gateway-api-secrets-namespace gateway-api-service-externaltrafficpolicy gateway-api-use-remote-address
  gateway-api-xff-num-trusted-hops global-ready-timeout gops-port health-check-icmp-failure-threshold hive-log-threshold
  hive-start-timeout hive-stop-timeout http-idle-timeout http-max-grpc-timeout http-normalize-path http-request-timeout
  http-retry-count http-retry-timeout http-stream-idle-timeout hubble-disable-tls hubble-drop-events hubble-drop-events-extended
  hubble-drop-events-interval hubble-drop-events-rate-limit hubble-drop-events-reasons hubble-dynamic-metrics-config-path
  hubble-event-buffer-capacity hubble-event-queue-size hubble-export-aggregation-interval hubble-export-allowlist
  hubble-export-denylist hubble-export-fieldaggregate hubble-export-fieldmask hubble-export-file-compress
  hubble-export-file-max-backups hubble-export-file-max-size-mb hubble-export-file-path hubble-flowlogs-config-path
  hubble-listen-address hubble-lost-event-send-interval hubble-metrics hubble-metrics-server hubble-metrics-server-enable-tls
  hubble-metrics-server-tls-cert-file hubble-metrics-server-tls-client-ca-files hubble-metrics-server-tls-key-file
  hubble-monitor-events hubble-network-policy-correlation-enabled hubble-prefer-ipv6 hubble-recorder-sink-queue-size
  hubble-recorder-storage-path hubble-redact-enabled hubble-redact-http-headers-allow hubble-redact-http-headers-deny
  hubble-redact-http-urlquery hubble-redact-http-userinfo hubble-redact-kafka-apikey hubble-skip-unknown-cgroup-ids
  hubble-socket-path hubble-tls-cert-file hubble-tls-client-ca-files hubble-tls-key-file identity-allocation-mode
  identity-allocation-sync-interval identity-allocation-timeout identity-change-grace-period identity-gc-interval
  identity-heartbeat-timeout identity-management-mode identity-max-jitter identity-restore-grace-period ignore-flags-drift-checker
  ingress-default-lb-mode ingress-default-secret-name ingress-default-secret-namespace ingress-default-xff-num-trusted-hops
  ingress-hostnetwork-enabled ingress-hostnetwork-http-listener-port ingress-hostnetwork-https-listener-port
  ingress-hostnetwork-nodelabelselector ingress-hostnetwork-shared-listener-port ingress-hostnetwork-tls-passthrough-listener-port
  ingress-lb-annotation-prefixes ingress-secrets-namespace ingress-shared-lb-service-name ingress-use-remote-address
  install-uplink-routes-for-delegated-ipam instance-tags-filter ip-tracing-option-type ipam-cilium-node-update-rate
  ipam-default-ip-pool ipam-max-allocate ipam-min-allocate ipam-multi-pool-pre-allocation ipam-pre-allocate ipam-static-ip-tags
  ipsec-key-file ipsec-key-rotation-duration iptables-lock-timeout ipv4-pod-subnets ipv6-cluster-alloc-cidr ipv6-pod-subnets
  join-cluster k8s-api-server k8s-api-server-urls k8s-client-burst k8s-client-connection-keep-alive k8s-client-connection-timeout
  k8s-client-qps k8s-heartbeat-timeout k8s-kubeconfig-path k8s-namespace k8s-require-ipv4-pod-cidr k8s-require-ipv6-pod-cidr
  k8s-service-cache-size k8s-sync-timeout k8s-watcher-endpoint-selector keep-config kube-proxy-replacement-healthz-bind-address
  kvstore kvstore-connectivity-timeout kvstore-lease-ttl kvstore-max-consecutive-quorum-errors kvstore-opt kvstore-periodic-sync
  kvstore-pod-network-support l2-announcements-lease-duration l2-announcements-renew-deadline l2-announcements-retry-period
  l2-pod-announcements-interface l2-pod-announcements-interface-pattern lb-init-wait-timeout lb-pressure-metrics-interval
  lb-reflector-wait-time lb-retry-backoff-max lb-retry-backoff-min lb-sock-terminate-all-protos lb-state-file-interval lib-dir
  limit-ipam-api-burst limit-ipam-api-qps loadbalancer-l7-algorithm loadbalancer-l7-ports local-router-ipv4 local-router-ipv6
  log-driver log-level log-opt log-system-load lrp-address-matcher-cidrs max-connected-clusters max-controller-interval
  max-internal-timer-delay mesh-auth-enabled mesh-auth-gc-interval mesh-auth-mutual-connect-timeout
  mesh-auth-mutual-listener-port mesh-auth-queue-size mesh-auth-rotated-identities-queue-size mesh-auth-signal-backoff-duration
  mesh-auth-spiffe-trust-domain mesh-auth-spire-admin-socket mesh-auth-spire-agent-socket mesh-auth-spire-server-address
  mesh-auth-spire-server-connection-timeout metrics metrics-sampling-interval mke-cgroup-mount monitor-aggregation
  monitor-aggregation-flags monitor-aggregation-interval monitor-queue-size nat-map-stats-entries nat-map-stats-interval
  node-encryption-opt-out-labels node-port-bind-protection nodes-gc-interval operator-api-serve-addr operator-k8s-client-burst
  operator-k8s-client-qps operator-manages-identities operator-pprof operator-pprof-address operator-pprof-block-profile-rate
  operator-pprof-mutex-profile-fraction operator-pprof-port operator-prometheus-enable-tls operator-prometheus-serve-addr
  operator-prometheus-tls-cert-file operator-prometheus-tls-client-ca-files operator-prometheus-tls-key-file
  packetization-layer-pmtud-mode per-cluster-ready-timeout pod-restart-selector policy-accounting policy-queue-size
  policy-secrets-namespace policy-secrets-only-from-secrets-namespace policy-trigger-interval pprof pprof-address
  pprof-block-profile-rate pprof-mutex-profile-fraction pprof-port preallocate-bpf-maps prefer-ipv6 procfs prometheus-serve-addr
  proxy-admin-port proxy-cluster-max-connections proxy-cluster-max-pending-requests proxy-cluster-max-requests proxy-connect-timeout
  proxy-gid proxy-idle-timeout-seconds proxy-initial-fetch-timeout proxy-max-active-downstream-connections
  proxy-max-concurrent-retries proxy-max-connection-duration-seconds proxy-max-requests-per-connection proxy-portrange-max
  proxy-portrange-min proxy-prometheus-port proxy-use-original-source-address proxy-xff-num-trusted-hops-egress
  proxy-xff-num-trusted-hops-ingress read-cni-conf remove-cilium-node-taints restored-proxy-ports-age-limit route-metric
  set-cilium-is-up-condition set-cilium-node-taints skip-crd-creation socket-path srv6-encap-mode standalone-dns-proxy-server-port
  state-dir status-collector-failure-threshold status-collector-interval status-collector-probe-check-timeout
  status-collector-stackdump-path status-collector-warning-threshold subnet-ids-filter subnet-tags-filter synchronize-k8s-nodes
  tofqdns-dns-reject-response-code tofqdns-enable-dns-compression tofqdns-endpoint-max-ip-per-hostname
  tofqdns-idle-connection-grace-period tofqdns-max-deferred-connection-deletes tofqdns-pre-cache tofqdns-preallocate-identities
  tofqdns-proxy-port tofqdns-proxy-response-max-delay trace-payloadlen trace-payloadlen-overlay trace-sock tunnel-source-port-range
  unmanaged-pod-watcher-interval update-ec2-adapter-limit-via-api use-cilium-internal-ip-for-ipsec use-full-tls-context
  vtep-endpoint vtep-mac vtep-sync-interval wireguard-persistent-keepalive wireguard-track-all-ips-fallback
  write-cni-conf-when-ready xds-node-id xds-server-address xds-use-sotw-protocol ztunnel-ca-type
  ztunnel-endpoint-event-channel-buffer-size ztunnel-zds-unix-addr
`.trim().split(/\s+/));
