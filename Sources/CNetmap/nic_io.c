// Interfaces of the host as ports: see nic_io.h.
#define _GNU_SOURCE
#include "nic_io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(__builtin_offsetof(struct tpacket_block_desc, hdr.bh1.block_status) == NM_BLOCK_STATUS, "status");
_Static_assert(__builtin_offsetof(struct tpacket_block_desc, hdr.bh1.num_pkts) == NM_BLOCK_FRAMES, "frames");
_Static_assert(__builtin_offsetof(struct tpacket_block_desc, hdr.bh1.offset_to_first_pkt) == NM_BLOCK_FIRST, "first");
_Static_assert(__builtin_offsetof(struct tpacket3_hdr, tp_next_offset) == NM_TPACKET_NEXT, "next");
_Static_assert(__builtin_offsetof(struct tpacket3_hdr, tp_snaplen) == NM_TPACKET_CAPTURED, "captured");
_Static_assert(__builtin_offsetof(struct tpacket3_hdr, tp_len) == NM_TPACKET_LENGTH, "length");
_Static_assert(__builtin_offsetof(struct tpacket3_hdr, tp_status) == NM_TPACKET_STATUS, "status");
_Static_assert(__builtin_offsetof(struct tpacket3_hdr, tp_mac) == NM_TPACKET_MAC, "mac");
_Static_assert(__builtin_offsetof(struct tpacket3_hdr, hv1.tp_vlan_tci) == NM_TPACKET_TCI, "tci");
_Static_assert(__builtin_offsetof(struct tpacket3_hdr, hv1.tp_vlan_tpid) == NM_TPACKET_TPID, "tpid");
_Static_assert(TPACKET_ALIGN(sizeof(struct tpacket3_hdr)) == NM_TPACKET_SIZE, "the address follows");
_Static_assert(__builtin_offsetof(struct sockaddr_ll, sll_pkttype) == NM_TPACKET_KIND - NM_TPACKET_SIZE, "kind");
_Static_assert(TP_STATUS_USER == NM_TP_USER && TP_STATUS_LOSING == NM_TP_LOSING, "status");
_Static_assert(TP_STATUS_VLAN_VALID == NM_TP_TAGGED && TP_STATUS_VLAN_TPID_VALID == NM_TP_TPID, "status");
_Static_assert(sizeof(struct virtio_net_hdr) == NM_VNET_HEADER, "without num_buffers");
_Static_assert(sizeof(struct xdp_desc) == NM_XDP_DESCRIPTOR, "a descriptor is 16 bytes");
_Static_assert(IFF_UP == NM_IFF_UP && IFF_RUNNING == NM_IFF_RUNNING, "flags");

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

static int set(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

static int fail(int fd) {
    int e = errno;
    close(fd);
    return -e;
}

static int bind_packet(int fd, int ifindex, uint16_t protocol) {
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = ifindex};
    return bind(fd, (struct sockaddr *)&address, sizeof address);
}

static int join_promiscuous(int fd, int ifindex) {
    struct packet_mreq request = {.mr_ifindex = ifindex, .mr_type = PACKET_MR_PROMISC};
    return setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof request);
}

int nm_packet_open(int ifindex, int flags, uint32_t blocks, uint32_t block_size) {
    // No protocol, so that nothing comes before the ring is there.
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    int version = TPACKET_V3;
    struct tpacket_req3 ring = {
        .tp_block_size = block_size,
        .tp_block_nr = blocks,
        .tp_frame_size = 2048,
        .tp_frame_nr = block_size / 2048 * blocks,
        .tp_retire_blk_tov = 1,
    };
    if (set(fd, SOL_PACKET, PACKET_VNET_HDR, 1)) return fail(fd);
    if (blocks && (set(fd, SOL_PACKET, PACKET_VERSION, version) ||
                   set(fd, SOL_PACKET, PACKET_RESERVE, NM_PACKET_RESERVE) ||
                   setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring) < 0))
        return fail(fd);
    if (!blocks && set(fd, SOL_PACKET, PACKET_AUXDATA, 1)) return fail(fd);
    if (set(fd, SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)) (void)set(fd, SOL_SOCKET, SO_RCVBUF, 1 << 22);
    // Kernels before 4.20 have it not; what we sent ourselves is left out by its kind then.
    (void)set(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    if ((flags & NM_PACKET_BYPASS) && set(fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1)) return fail(fd);
    if (set(fd, SOL_SOCKET, SO_SNDBUFFORCE, 1 << 22)) (void)set(fd, SOL_SOCKET, SO_SNDBUF, 1 << 22);
    if (bind_packet(fd, ifindex, ETH_P_ALL) < 0) return fail(fd);
    if ((flags & NM_PACKET_PROMISCUOUS) && join_promiscuous(fd, ifindex) < 0) return fail(fd);
    return fd;
}

int nm_packet_promiscuous(int ifindex) {
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    return join_promiscuous(fd, ifindex) < 0 ? fail(fd) : fd;
}

int nm_packet_probe(void) {
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

int64_t nm_packet_receive(int fd, void *buffer, size_t size, uint32_t *tag) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
    } notes;
    struct sockaddr_ll from;
    struct iovec piece = {buffer, size};
    struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &piece, .msg_iovlen = 1,
                             .msg_control = &notes, .msg_controllen = sizeof notes};
    ssize_t n;
    do n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_TRUNC);
    while (n < 0 && errno == EINTR);
    if (n < 0) return -errno;
    *tag = 0;
    struct cmsghdr *note = CMSG_FIRSTHDR(&message);
    if (note && note->cmsg_level == SOL_PACKET && note->cmsg_type == PACKET_AUXDATA) {
        struct tpacket_auxdata data;
        memcpy(&data, CMSG_DATA(note), sizeof data);
        uint32_t type = data.tp_status & TP_STATUS_VLAN_TPID_VALID ? data.tp_vlan_tpid : ETH_P_8021Q;
        if (data.tp_status & TP_STATUS_VLAN_VALID) *tag = type << 16 | data.tp_vlan_tci;
    }
    return from.sll_pkttype == PACKET_OUTGOING ? 0 : n;
}

int64_t nm_packet_losses(int fd) {
    struct tpacket_stats_v3 stats; // begins as that of sockets without a ring
    socklen_t size = sizeof stats;
    return getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) < 0 ? -errno : stats.tp_drops;
}

int nm_send_frames(int fd, const void *segments, const uint16_t *pieces, int count) {
    struct mmsghdr messages[NM_SEND_BATCH];
    // A Segment is an address and a length, as an iovec is.
    struct iovec *next = (struct iovec *)segments;
    if (count > NM_SEND_BATCH) count = NM_SEND_BATCH;
    for (int i = 0; i < count; i++) {
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = next, .msg_iovlen = pieces[i]}};
        next += pieces[i];
    }
    int r;
    do r = sendmmsg(fd, messages, (unsigned)count, MSG_DONTWAIT);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

int nm_xdp_socket(void) {
    int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    if (set(fd, SOL_SOCKET, SO_SNDBUFFORCE, 1 << 22)) (void)set(fd, SOL_SOCKET, SO_SNDBUF, 1 << 22);
    return fd;
}

int nm_xdp_is_socket(int fd) {
    int domain = 0;
    socklen_t size = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 ? -errno : domain == AF_XDP;
}

int nm_xdp_register(int fd, void *base, uint64_t length, uint32_t chunk) {
    struct xdp_umem_reg area = {.addr = (uint64_t)(uintptr_t)base, .len = length, .chunk_size = chunk};
    return setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &area, sizeof area) < 0 ? -errno : 0;
}

int nm_xdp_ring(int fd, int which, uint32_t entries) {
    static const int names[] = {XDP_RX_RING, XDP_TX_RING, XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING};
    return set(fd, SOL_XDP, names[which], (int)entries);
}

static struct nm_xdp_offsets offsets(struct xdp_ring_offset ring) {
    return (struct nm_xdp_offsets){ring.producer, ring.consumer, ring.desc, ring.flags};
}

int nm_xdp_layout(int fd, struct nm_xdp_layout *layout) {
    struct xdp_mmap_offsets of;
    socklen_t size = sizeof of;
    if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &of, &size) < 0) return -errno;
    if (size != sizeof of) return -EOPNOTSUPP; // before 5.4: no flags
    *layout = (struct nm_xdp_layout){offsets(of.rx), offsets(of.tx), offsets(of.fr), offsets(of.cr)};
    return 0;
}

uint64_t nm_xdp_page_offset(int which) {
    static const uint64_t places[] = {XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_FILL_RING,
                                      XDP_UMEM_PGOFF_COMPLETION_RING};
    return places[which];
}

int nm_xdp_bind(int fd, int ifindex, uint32_t queue, uint16_t flags) {
    struct sockaddr_xdp address = {
        .sxdp_family = AF_XDP, .sxdp_flags = flags, .sxdp_ifindex = (uint32_t)ifindex, .sxdp_queue_id = queue};
    return bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
}

int nm_xdp_is_zero_copy(int fd) {
    struct xdp_options options = {0};
    socklen_t size = sizeof options;
    if (getsockopt(fd, SOL_XDP, XDP_OPTIONS, &options, &size) < 0) return -errno;
    return (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
}

void nm_xdp_raise_budget(int fd, uint32_t frames) {
    enum { MAX_TX_SKB_BUDGET = 9 };
    (void)setsockopt(fd, SOL_XDP, MAX_TX_SKB_BUDGET, &frames, sizeof frames);
}

int nm_xdp_losses(int fd, struct nm_xdp_losses *losses) {
    struct xdp_statistics s;
    memset(&s, 0, sizeof s); // kernels before 5.9 fill in half of it
    socklen_t size = sizeof s;
    if (getsockopt(fd, SOL_XDP, XDP_STATISTICS, &s, &size) < 0) return -errno;
    *losses = (struct nm_xdp_losses){s.rx_dropped, s.rx_ring_full, s.rx_fill_ring_empty_descs, s.rx_invalid_descs,
                                     s.tx_invalid_descs};
    return 0;
}

int nm_xdp_kick(int fd) { return sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 ? -errno : 0; }

int nm_xdp_wake(int fd) { return recvfrom(fd, NULL, 0, MSG_DONTWAIT, NULL, NULL) < 0 ? -errno : 0; }

static int bpf(int command, union bpf_attr *request) {
    long r = syscall(SYS_bpf, command, request, sizeof *request);
    return r < 0 ? -errno : (int)r;
}

int nm_bpf_socket_map(uint32_t entries) {
    union bpf_attr request = {.map_type = BPF_MAP_TYPE_XSKMAP, .key_size = 4, .value_size = 4, .max_entries = entries};
    strcpy(request.map_name, "wirevale");
    return bpf(BPF_MAP_CREATE, &request);
}

int nm_bpf_open_pinned(const char *path) {
    union bpf_attr request = {.pathname = (uint64_t)(uintptr_t)path};
    int map = bpf(BPF_OBJ_GET, &request);
    if (map < 0) return map;
    struct bpf_map_info info;
    memset(&info, 0, sizeof info);
    union bpf_attr question = {.info = {.bpf_fd = (uint32_t)map, .info_len = sizeof info,
                                        .info = (uint64_t)(uintptr_t)&info}};
    int r = bpf(BPF_OBJ_GET_INFO_BY_FD, &question);
    if (r == 0 && info.type == BPF_MAP_TYPE_XSKMAP) return map;
    close(map);
    return r < 0 ? r : -EMEDIUMTYPE;
}

int nm_bpf_map_set(int map, uint32_t key, uint32_t value) {
    union bpf_attr request = {.map_fd = (uint32_t)map, .key = (uint64_t)(uintptr_t)&key};
    request.value = (uint64_t)(uintptr_t)&value;
    return bpf(BPF_MAP_UPDATE_ELEM, &request);
}

int nm_bpf_map_delete(int map, uint32_t key) {
    union bpf_attr request = {.map_fd = (uint32_t)map, .key = (uint64_t)(uintptr_t)&key};
    return bpf(BPF_MAP_DELETE_ELEM, &request);
}

int nm_bpf_redirect_program(int map, int fragments) {
    struct bpf_insn code[] = {
        {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1,
         .off = __builtin_offsetof(struct xdp_md, rx_queue_index)},
        {.code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = map},
        {0},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = XDP_PASS},
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map},
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr request = {
        .prog_type = BPF_PROG_TYPE_XDP,
        .insns = (uint64_t)(uintptr_t)code,
        .insn_cnt = sizeof code / sizeof code[0],
        .license = (uint64_t)(uintptr_t) "Dual MIT/GPL",
        .prog_flags = fragments ? BPF_F_XDP_HAS_FRAGS : 0,
        .expected_attach_type = BPF_XDP,
    };
    strcpy(request.prog_name, "wirevale");
    return bpf(BPF_PROG_LOAD, &request);
}

int nm_bpf_attach(int program, int ifindex, uint32_t flags) {
    union bpf_attr request = {.link_create = {.prog_fd = (uint32_t)program, .target_ifindex = (uint32_t)ifindex,
                                              .attach_type = BPF_XDP, .flags = flags}};
    return bpf(BPF_LINK_CREATE, &request);
}

int nm_bpf_forward_program(int ifindex, int ingress) {
    struct bpf_insn code[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 1, .imm = ifindex},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = ingress ? BPF_F_INGRESS : 0},
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect},
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr request = {
        .prog_type = BPF_PROG_TYPE_SCHED_CLS,
        .insns = (uint64_t)(uintptr_t)code,
        .insn_cnt = sizeof code / sizeof code[0],
        .license = (uint64_t)(uintptr_t) "Dual MIT/GPL",
    };
    strcpy(request.prog_name, "wirevale");
    return bpf(BPF_PROG_LOAD, &request);
}

int nm_bpf_attach_tc(int program, int ifindex, int egress) {
    enum { TCX_INGRESS = 46, TCX_EGRESS = 47 };
    union bpf_attr request = {.link_create = {.prog_fd = (uint32_t)program, .target_ifindex = (uint32_t)ifindex,
                                              .attach_type = egress ? TCX_EGRESS : TCX_INGRESS}};
    return bpf(BPF_LINK_CREATE, &request);
}

// One question about an interface by name.
static int ask(const char *name, unsigned long question, struct ifreq *request, void *data) {
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    memset(request, 0, sizeof *request);
    strncpy(request->ifr_name, name, sizeof request->ifr_name - 1);
    if (data) request->ifr_data = data;
    int r = ioctl(fd, question, request) < 0 ? -errno : 0;
    close(fd);
    return r;
}

int nm_interface_look(const char *name, struct nm_interface *interface) {
    struct ifreq request;
    memset(interface, 0, sizeof *interface);
    int r = ask(name, SIOCGIFINDEX, &request, NULL);
    if (r < 0) return r;
    interface->index = request.ifr_ifindex;
    if ((r = ask(name, SIOCGIFFLAGS, &request, NULL)) < 0) return r;
    interface->flags = (uint16_t)request.ifr_flags;
    if ((r = ask(name, SIOCGIFMTU, &request, NULL)) < 0) return r;
    interface->mtu = request.ifr_mtu;
    if ((r = ask(name, SIOCGIFHWADDR, &request, NULL)) < 0) return r;
    if (request.ifr_hwaddr.sa_family != 1 && request.ifr_hwaddr.sa_family != 772) return -EMEDIUMTYPE;
    memcpy(interface->mac, request.ifr_hwaddr.sa_data, sizeof interface->mac);
    struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};
    if (ask(name, SIOCETHTOOL, &request, &driver) == 0)
        memcpy(interface->driver, driver.driver, sizeof interface->driver - 1);
    struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
    if (ask(name, SIOCETHTOOL, &request, &channels) == 0)
        interface->rx_queues = channels.rx_count + channels.combined_count;
    if (!interface->rx_queues) interface->rx_queues = 1;
    return 0;
}

static int legacy_flag(int which) { return which == NM_OFFLOAD_LRO ? ETH_FLAG_LRO : ETH_FLAG_RXVLAN; }

int nm_interface_offload(const char *name, int which) {
    struct ifreq request;
    struct ethtool_value value = {.cmd = which == NM_OFFLOAD_GRO ? ETHTOOL_GGRO : ETHTOOL_GFLAGS};
    int r = ask(name, SIOCETHTOOL, &request, &value);
    if (r < 0) return r;
    return which == NM_OFFLOAD_GRO ? value.data != 0 : (value.data & (uint32_t)legacy_flag(which)) != 0;
}

int nm_interface_set_offload(const char *name, int which, int on) {
    struct ifreq request;
    struct ethtool_value value = {.cmd = ETHTOOL_SGRO, .data = on != 0};
    if (which != NM_OFFLOAD_GRO) {
        value.cmd = ETHTOOL_GFLAGS;
        int r = ask(name, SIOCETHTOOL, &request, &value);
        if (r < 0) return r;
        value.cmd = ETHTOOL_SFLAGS;
        if (on) value.data |= (uint32_t)legacy_flag(which);
        else value.data &= ~(uint32_t)legacy_flag(which);
    }
    int r = ask(name, SIOCETHTOOL, &request, &value);
    if (r < 0) return r;
    int now = nm_interface_offload(name, which);
    return now < 0 ? now : now == (on != 0) ? 0 : -EOPNOTSUPP; // some take it and do nothing
}

int nm_link_watch(void) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0) return -errno;
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    return bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? fail(fd) : fd;
}

void nm_link_drain(int fd) {
    char buffer[8192];
    // ENOBUFS: some were lost. That is news like any other, and there may be more.
    while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) >= 0 || errno == EINTR || errno == ENOBUFS) {}
}
