// What Swift imports from C: layouts, one-instruction inlines, kernel interfaces. No logic.
#include "counters.h"
#include "fdb.h"
#include "host_io.h"
#include "linux_shims.h"
#include "net/netmap.h"
#include "netmap_wire.h"
#include "shm.h"
#include "virtio_abi.h"
