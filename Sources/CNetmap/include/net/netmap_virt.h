// Programs include this for the control blocks (nm_csb_*), which are in net/netmap.h.
#ifndef _NET_NETMAP_VIRT_H_
#define _NET_NETMAP_VIRT_H_
#include <net/netmap.h>
#endif
