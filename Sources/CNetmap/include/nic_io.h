// Interfaces of the host as ports: packet sockets, AF_XDP, and what is asked of an interface. Layouts of what
// the kernel shares with us are offsets, read through shm.h. Results of zero or more, or -errno.
#ifndef WIREVALE_NIC_IO_H
#define WIREVALE_NIC_IO_H

#include "host_io.h"

// A block of a TPACKET_V3 ring, the header of each frame in it, and the address behind that header.
enum {
    NM_BLOCK_STATUS = 8,
    NM_BLOCK_FRAMES = 12,
    NM_BLOCK_FIRST = 16,
    NM_TPACKET_NEXT = 0,
    NM_TPACKET_CAPTURED = 12, // bytes that are there
    NM_TPACKET_LENGTH = 16,   // bytes that the frame had
    NM_TPACKET_STATUS = 20,
    NM_TPACKET_MAC = 24,      // u16: where the frame begins
    NM_TPACKET_TCI = 32,
    NM_TPACKET_TPID = 36,     // u16
    NM_TPACKET_SIZE = 48,
    NM_TPACKET_KIND = 48 + 10, // u8: PACKET_OUTGOING and so on
    NM_TP_KERNEL = 0,
    NM_TP_USER = 1,
    NM_TP_LOSING = 4,
    NM_TP_TAGGED = 0x10,
    NM_TP_TPID = 0x40,
    NM_PACKET_OUTGOING = 4,
    NM_PACKET_RESERVE = 16,   // bytes that frames leave free before them
    NM_VNET_HEADER = 10,
};

enum { NM_PACKET_BYPASS = 1, NM_PACKET_PROMISCUOUS = 2 };
// A packet socket with virtio-net headers, and with a receive ring of `blocks` blocks of `block_size` bytes if
// `blocks` is not 0.
int nm_packet_open(int ifindex, int flags, uint32_t blocks, uint32_t block_size);
// A packet socket that hears nothing and keeps an interface promiscuous while it is open.
int nm_packet_promiscuous(int ifindex);
// A plain packet socket without a ring, for measurements and probes.
int nm_packet_probe(void);
// One frame of a socket without a ring: its virtio-net header, then itself. Returns the bytes of both, even if
// there were more than `size`; 0 for a frame that we sent ourselves. `*tag` is a VLAN tag that the kernel has taken off,
// its type in the upper half, or 0.
NM_HOT int64_t nm_packet_receive(int fd, void *buffer, size_t size, uint32_t *tag);
// Frames that the kernel had no room for since the last call.
NM_HOT int64_t nm_packet_losses(int fd);

enum { NM_SEND_BATCH = 64 };
// Sends `count` frames, at most NM_SEND_BATCH: frame i is `pieces[i]` segments, which lie in a row at `segments`.
// Returns how many were taken, or why the first was not.
NM_HOT int nm_send_frames(int fd, const void *segments, const uint16_t *pieces, int count);

// AF_XDP (Documentation/networking/af_xdp.rst).
struct nm_xdp_offsets { // of one ring in its mapping
    uint64_t producer, consumer, descriptors, flags;
};
struct nm_xdp_layout {
    struct nm_xdp_offsets rx, tx, fill, completion;
};
struct nm_xdp_losses { // since the socket was made
    uint64_t dropped, ring_full, fill_empty, rx_invalid, tx_invalid;
};
enum {
    NM_XDP_DESCRIPTOR = 16,    // u64 address, u32 length, u32 options
    NM_XDP_CONTINUED = 1,      // in options: the frame goes on in the next descriptor
    NM_XDP_NEED_WAKEUP = 1,    // in a ring's flags
    NM_XDP_HEADROOM = 256,     // bytes that the kernel keeps before each received frame
    NM_XDP_SHARED_UMEM = 1,
    NM_XDP_COPY = 2,           // flags of bind
    NM_XDP_WAKEUP = 8,
    NM_XDP_FRAGMENTS = 16,
};
enum { NM_XDP_RX, NM_XDP_TX, NM_XDP_FILL, NM_XDP_COMPLETION };
int nm_xdp_socket(void);
int nm_xdp_is_socket(int fd); // 1, 0 or -errno
int nm_xdp_register(int fd, void *base, uint64_t length, uint32_t chunk);
int nm_xdp_ring(int fd, int which, uint32_t entries);
int nm_xdp_layout(int fd, struct nm_xdp_layout *layout);
uint64_t nm_xdp_page_offset(int which); // where mmap finds a ring
int nm_xdp_bind(int fd, int ifindex, uint32_t queue, uint16_t flags);
int nm_xdp_is_zero_copy(int fd);
void nm_xdp_raise_budget(int fd, uint32_t frames); // of one kick; kernels before 6.17 do 32
NM_HOT int nm_xdp_losses(int fd, struct nm_xdp_losses *losses);
NM_HOT int nm_xdp_kick(int fd); // has the kernel look at the tx ring
NM_HOT int nm_xdp_wake(int fd); // has the driver look at the fill ring

// bpf(2).
int nm_bpf_socket_map(uint32_t entries);
int nm_bpf_open_pinned(const char *path);
int nm_bpf_map_set(int map, uint32_t key, uint32_t value);
int nm_bpf_map_delete(int map, uint32_t key);
// The program that gives frames to the socket that `map` has for their queue, or else to the stack.
int nm_bpf_redirect_program(int map, int fragments);
enum { NM_XDP_SKB_MODE = 2, NM_XDP_DRV_MODE = 4 };
int nm_bpf_attach(int program, int ifindex, uint32_t flags); // a link: it ends with its last descriptor

// The program that sends each frame to another interface: out of it, or, `ingress`, as if it had come in there.
int nm_bpf_forward_program(int ifindex, int ingress);
int nm_bpf_attach_tc(int program, int ifindex, int egress); // a link; needs Linux 6.6 (tcx)

struct nm_interface {
    int index;
    int mtu;
    uint32_t flags; // IFF_*
    uint32_t rx_queues;
    uint8_t mac[6];
    char driver[32];
};
enum { NM_IFF_UP = 1, NM_IFF_RUNNING = 0x40 };
int nm_interface_look(const char *name, struct nm_interface *interface); // -ENODEV if there is none
enum { NM_OFFLOAD_LRO, NM_OFFLOAD_RXVLAN, NM_OFFLOAD_GRO };
int nm_interface_offload(const char *name, int which); // 1, 0 or -errno
int nm_interface_set_offload(const char *name, int which, int on);
int nm_link_watch(void); // readable when an interface of this network namespace has changed
void nm_link_drain(int fd);

#endif
