// The netmap ioctls with arguments: the program's memory is copied into a message and back.
// What the requests mean is the engine's business; here are only the sizes that the ABI gives them.

#include "shim.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { MESSAGE_ROOM = NM_WIRE_MAX - (int)sizeof(struct nm_call) };

int request_open(int flags) {
    struct exchange exchange = {0};
    int length = channel_call(NM_CALL_OPEN, -1, &exchange);
    if (length < 0) {
        errno = -length;
        return -1;
    }
    static bool said;
    int fd = exchange.received[0];
    if (exchange.received[1] >= 0) real.close(exchange.received[1]);
    if (exchange.error || fd < 0) {
        if (fd >= 0) real.close(fd);
        if (exchange.error == EPROTO || exchange.error == EPROTONOSUPPORT)
            shim_say(&said, "the engine at '%s' is of another version than this program's libnetmap-shim.so", shim_socket);
        errno = exchange.error && exchange.error != EPROTO && exchange.error != EPROTONOSUPPORT ? exchange.error : ENXIO;
        return -1;
    }
    if (!(flags & O_CLOEXEC)) real.fcntl(fd, F_SETFD, 0);
    if (flags & O_NONBLOCK) real.fcntl(fd, F_SETFL, real.fcntl(fd, F_GETFL, NULL) | O_NONBLOCK);
    descriptor_adopt(fd, socket_cookie(fd));
    return fd;
}

static uint32_t body_size(unsigned type) {
    switch (type) {
    case NETMAP_REQ_REGISTER: return sizeof(struct nmreq_register);
    case NETMAP_REQ_PORT_INFO_GET: return sizeof(struct nmreq_port_info_get);
    case NETMAP_REQ_VALE_ATTACH: return sizeof(struct nmreq_vale_attach);
    case NETMAP_REQ_VALE_DETACH: return sizeof(struct nmreq_vale_detach);
    case NETMAP_REQ_VALE_LIST: return sizeof(struct nmreq_vale_list);
    case NETMAP_REQ_PORT_HDR_SET:
    case NETMAP_REQ_PORT_HDR_GET: return sizeof(struct nmreq_port_hdr);
    case NETMAP_REQ_VALE_NEWIF: return sizeof(struct nmreq_vale_newif);
    case NETMAP_REQ_VALE_POLLING_ENABLE:
    case NETMAP_REQ_VALE_POLLING_DISABLE: return sizeof(struct nmreq_vale_polling);
    case NETMAP_REQ_POOLS_INFO_GET: return sizeof(struct nmreq_pools_info);
    case NETMAP_REQ_SYNC_KLOOP_START: return sizeof(struct nmreq_sync_kloop_start);
    default: return 0;
    }
}

static uint64_t option_size(unsigned type, uint64_t said) {
    switch (type) {
    case NETMAP_REQ_OPT_EXTMEM: return sizeof(struct nmreq_opt_extmem);
    case NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS:
        return said < sizeof(struct nmreq_option) ? sizeof(struct nmreq_option) : said;
    case NETMAP_REQ_OPT_CSB: return sizeof(struct nmreq_opt_csb);
    case NETMAP_REQ_OPT_SYNC_KLOOP_MODE: return sizeof(struct nmreq_opt_sync_kloop_mode);
    case NETMAP_REQ_OPT_OFFSETS: return sizeof(struct nmreq_opt_offsets);
    default: return sizeof(struct nmreq_option);
    }
}

static size_t padded(size_t length) { return (length + 7) & ~(size_t)7; }

// A request as a message, and where its options came from. NETMAP_REQ_MAXSIZE bounds the options.
struct draft {
    union {
        struct {
            struct nmreq_header header;
            struct nm_control_call call;
        };
        uint8_t bytes[sizeof(struct nmreq_header) + sizeof(struct nm_control_call) + NETMAP_REQ_MAXSIZE
                      + 8 * (NETMAP_REQ_MAXSIZE / sizeof(struct nmreq_option) + 2)];
    };
    size_t length;
    struct {
        uint64_t address;
        uint32_t at, size;
    } options[NETMAP_REQ_MAXSIZE / sizeof(struct nmreq_option) + 1];
};
_Static_assert(sizeof((struct draft *)0)->bytes <= MESSAGE_ROOM, "a request fits into a message");
_Static_assert(sizeof(struct nm_control_call) == 16, "what follows it is aligned");

static const size_t BODY_AT = sizeof(struct nmreq_header) + sizeof(struct nm_control_call);

static void *option_in(struct draft *draft, unsigned type) {
    for (uint32_t i = 0; i < draft->call.option_count; i++) {
        struct nmreq_option *option = (struct nmreq_option *)(draft->bytes + draft->options[i].at);
        if (option->nro_reqtype == type) return option;
    }
    return NULL;
}

// Copies the request out of the program's memory. 0 or an errno.
static int collect(struct draft *draft, uint64_t argument) {
    int error = user_read(&draft->header, argument, sizeof draft->header);
    if (error) return error;
    draft->call = (struct nm_control_call){0};
    size_t length = BODY_AT;
    uint32_t body = draft->header.nr_body ? body_size(draft->header.nr_reqtype) : 0;
    if ((error = user_read(draft->bytes + length, draft->header.nr_body, body))) return error;
    draft->call.body_length = body;
    memset(draft->bytes + length + body, 0, padded(body) - body);
    length += padded(body);

    size_t total = body;
    for (uint64_t next = draft->header.nr_options; next;) {
        struct nmreq_option option;
        if ((error = user_read(&option, next, sizeof option))) return error;
        uint64_t size = option_size(option.nro_reqtype, option.nro_size);
        if (size > NETMAP_REQ_MAXSIZE || total + size + 8 > NETMAP_REQ_MAXSIZE) {
            draft->call.is_too_long = 1;
            break;
        }
        total += size + 8;
        if ((error = user_read(draft->bytes + length, next, size))) return error;
        memset(draft->bytes + length + size, 0, padded(size) - size);
        // The program may have changed it in between: what was measured counts.
        memcpy(draft->bytes + length, &option, sizeof option);
        uint32_t i = draft->call.option_count++;
        draft->options[i].address = next;
        draft->options[i].at = (uint32_t)length;
        draft->options[i].size = (uint32_t)size;
        length += padded(size);
        next = option.nro_next;
    }
    draft->length = length;
    return 0;
}

// Copies the results into the program's memory. 0 or an errno.
static int distribute(struct draft *draft, const struct nmreq_header *asked, uint64_t argument, int error) {
    struct nmreq_header header = draft->header;
    header.nr_options = asked->nr_options;
    header.nr_body = asked->nr_body;
    header.nr_reserved = asked->nr_reserved;
    int fault = user_write(argument, &header, sizeof header);
    if (!error && user_write(asked->nr_body, draft->bytes + BODY_AT, draft->call.body_length)) fault = EFAULT;
    if (draft->call.is_too_long) return fault;
    for (uint32_t i = 0; i < draft->call.option_count; i++) {
        const uint8_t *bytes = draft->bytes + draft->options[i].at;
        const struct nmreq_option *option = (const struct nmreq_option *)bytes;
        const size_t after_next = sizeof option->nro_next;
        bool is_whole = !error && option->nro_status == 0;
        size_t size = is_whole ? draft->options[i].size : sizeof *option;
        // nro_next is the program's, and it stays as it is.
        if (user_write(draft->options[i].address + after_next, bytes + after_next, size - after_next)) fault = EFAULT;
    }
    return fault;
}

static int control(struct binding *binding, int fd, uint64_t argument) {
    struct draft draft;
    int error = collect(&draft, argument);
    if (error) return error;
    const struct nmreq_header asked = draft.header;
    const struct nm_control_call shape = draft.call;
    struct nmreq_opt_csb *csb = option_in(&draft, NETMAP_REQ_OPT_CSB);
    uint64_t atok = csb ? csb->csb_atok : 0, ktoa = csb ? csb->csb_ktoa : 0;
    if (csb) draft.call.csb_error = csb_probe(atok, ktoa, 1);
    struct nmreq_opt_extmem *extmem = option_in(&draft, NETMAP_REQ_OPT_EXTMEM);
    uint64_t memory = extmem ? extmem->nro_usrptr : 0;
    const struct nmreq_option *events = option_in(&draft, NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS);
    size_t events_size = events ? option_size(events->nro_reqtype, events->nro_size) - sizeof *events : 0;

    struct exchange exchange = {
        .head = draft.bytes, .head_length = draft.length, .answer = draft.bytes, .answer_room = sizeof draft.bytes};
    int length = channel_call(NM_CALL_CONTROL, fd, &exchange);
    for (int i = 0; i < 2; i++)
        if (length >= 0 && exchange.received[i] >= 0) real.close(exchange.received[i]);
    if (length < 0) return -length;
    error = exchange.error;
    if ((size_t)length != draft.length) {
        // An engine that refused the whole message has no results.
        if (length == 0 && error) return error;
        static bool said;
        shim_say(&said, "the engine at '%s' gave an answer of another shape; is it of another version?", shim_socket);
        return ENXIO;
    }
    draft.call = shape;
    uint32_t type = asked.nr_reqtype;
    if (!error && type == NETMAP_REQ_REGISTER) {
        error = descriptor_attach(binding, fd);
        extmem = option_in(&draft, NETMAP_REQ_OPT_EXTMEM);
        if (!error && extmem && extmem->nro_opt.nro_status == 0)
            error = mapping_replace(binding, memory, binding->attachment.region_size);
    }
    if (!error && type == NETMAP_REQ_CSB_ENABLE) error = descriptor_attach(binding, fd);
    if (!error && csb && (type == NETMAP_REQ_REGISTER || type == NETMAP_REQ_CSB_ENABLE)) {
        csb = option_in(&draft, NETMAP_REQ_OPT_CSB);
        if (csb && csb->nro_opt.nro_status == 0) error = csb_init(binding, atok, ktoa);
    }
    int fault = distribute(&draft, &asked, argument, error);
    if (error || fault) return error ? error : fault;
    if (type == NETMAP_REQ_SYNC_KLOOP_STOP) return kloop_stop(binding);
    if (type != NETMAP_REQ_SYNC_KLOOP_START) return 0;
    const struct nmreq_sync_kloop_start *start = (const void *)(draft.bytes + BODY_AT);
    return kloop_run(binding, fd, start, events ? events + 1 : NULL, events_size);
}

// The older requests: one structure there and back, also when the answer is no.
static int plain(struct binding *binding, int fd, unsigned op, uint64_t argument, size_t size) {
    union {
        struct nmreq request;
        struct nm_ifreq config;
    } body, answer;
    int error = user_read(&body, argument, size);
    if (error) return error;
    struct exchange exchange = {.body = &body, .body_length = size, .answer = &answer, .answer_room = sizeof answer};
    int length = channel_call(op, fd, &exchange);
    if (length < 0) return -length;
    for (int i = 0; i < 2; i++)
        if (exchange.received[i] >= 0) real.close(exchange.received[i]);
    if ((size_t)length != size) return exchange.error ? exchange.error : ENXIO;
    int fault = user_write(argument, &answer, size);
    if (exchange.error) return exchange.error;
    if (op == NM_CALL_REGIF && body.request.nr_cmd == 0 && (error = descriptor_attach(binding, fd))) return error;
    return fault;
}

int request_ioctl(struct binding *binding, int fd, uint32_t request, void *pointer) {
    int error;
    uint64_t argument = (uintptr_t)pointer;
    if (request == NM_NIOCTXSYNC || request == NM_NIOCRXSYNC) {
        error = sync_ioctl(binding, fd, request == NM_NIOCTXSYNC);
    } else if (!request_is_netmap(request)) {
        error = EOPNOTSUPP;
    } else if (!pointer) {
        error = EINVAL;
    } else if (request == NM_NIOCCTRL) {
        error = control(binding, fd, argument);
    } else if (request == NM_NIOCREGIF) {
        error = plain(binding, fd, NM_CALL_REGIF, argument, sizeof(struct nmreq));
    } else if (request == NM_NIOCGINFO) {
        error = plain(binding, fd, NM_CALL_GINFO, argument, sizeof(struct nmreq));
    } else {
        error = plain(binding, fd, NM_CALL_CONFIG, argument, sizeof(struct nm_ifreq));
    }
    if (!error) return 0;
    errno = error;
    return -1;
}
