// Control blocks and the loop that syncs them (netmap-spec 2.19). Both are in the program's process; here
// is who may have them, and who runs. netmap_wire.h says who tells whom.

import CNetmap
import Glibc

extension NetmapDevice {
    /// Whether the options ask for CSB mode, and may.
    ///
    /// - Throws: EINVAL or EFAULT, with the option's status set.
    func takeCSB(
        _ options: inout RequestOptions,
        _ selection: RingSelection,
        _ flags: UInt64
    ) throws(NetmapError) -> Bool {
        guard let bytes = options[NETMAP_REQ_OPT_CSB],
            let option = bytes.value(nmreq_opt_csb.self, at: 0)
        else { return false }
        func refuse(_ errno: Int32, _ why: String) -> NetmapError {
            options.settle(NETMAP_REQ_OPT_CSB, errno)
            return NetmapError(errno, why)
        }
        guard flags & UInt64(NR_EXCLUSIVE) != 0 else {
            throw refuse(
                EINVAL,
                "control blocks take the place of the rings' indices, so nobody else may have the "
                    + "rings; open the port with NR_EXCLUSIVE"
            )
        }
        for address in [option.csb_atok, option.csb_ktoa]
        where address == 0 || address % UInt64(NM_CSB_SIZE) != 0 {
            throw refuse(
                EINVAL,
                "the array of control blocks at \(address) does not begin at a multiple of "
                    + "\(NM_CSB_SIZE)"
            )
        }
        guard options.csbError == 0 else {
            throw refuse(
                options.csbError > 0 ? options.csbError : EFAULT,
                "the arrays of control blocks cannot be written; "
                    + "\(selection.rings.count) entries are needed in each"
            )
        }
        options.settle(NETMAP_REQ_OPT_CSB, 0)
        return true
    }

    /// CSB_ENABLE.
    func enableCSB(
        _ descriptor: Descriptor,
        _ options: inout RequestOptions
    ) throws(NetmapError) {
        guard let binding = descriptor.binding else {
            throw unbound("CSB_ENABLE", errno: EINVAL)
        }
        guard options[NETMAP_REQ_OPT_CSB] != nil else {
            throw NetmapError(EINVAL, "CSB_ENABLE needs the option CSB, which has the arrays")
        }
        guard descriptor.loop != NM_LOOP_RUN, descriptor.loop != NM_LOOP_STOP else {
            options.settle(NETMAP_REQ_OPT_CSB, EBUSY)
            throw NetmapError(
                EBUSY,
                "a loop runs on '\(binding.adapter.name)'; stop it before giving it other arrays"
            )
        }
        if try takeCSB(&options, binding.selection, binding.flags) {
            descriptor.binding?.isCSB = true
        }
    }

    /// SYNC_KLOOP_START.
    func startLoop(
        _ descriptor: Descriptor,
        _ body: nmreq_sync_kloop_start,
        _ options: inout RequestOptions
    ) throws(NetmapError) {
        guard let binding = descriptor.binding else {
            throw unbound("SYNC_KLOOP_START", errno: ENXIO)
        }
        let name = binding.adapter.name
        guard body.sleep_us <= 1_000_000 else {
            throw NetmapError(
                EINVAL,
                "a loop on '\(name)' cannot sleep \(body.sleep_us) microseconds; 1000000 are the most"
            )
        }
        guard binding.isCSB else {
            throw NetmapError(
                EINVAL,
                "a loop on '\(name)' needs control blocks: open it with the option CSB, or use "
                    + "CSB_ENABLE"
            )
        }
        guard descriptor.loop != NM_LOOP_RUN, descriptor.loop != NM_LOOP_STOP else {
            throw NetmapError(EBUSY, "a loop runs on '\(name)' already")
        }
        try checkLoop(&options, binding)
        setLoop(descriptor, descriptor.loop == NM_LOOP_STOP_NEXT ? NM_LOOP_STOP : NM_LOOP_RUN)
    }

    /// Eventfds for each ring or for none, and a mode that goes with them.
    private func checkLoop(
        _ options: inout RequestOptions,
        _ binding: Binding
    ) throws(NetmapError) {
        let rings = binding.selection.rings.count
        var hasAllKicks = false
        if let bytes = options[NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS] {
            let size = bytes.value(nmreq_option.self, at: 0)?.nro_size ?? 0
            let needed = RequestOption.headerLength + 8 * rings
            guard size == UInt64(needed), bytes.count == needed else {
                options.settle(NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, EINVAL)
                throw NetmapError(
                    EINVAL,
                    "the eventfds for \(rings) rings of '\(binding.adapter.name)' need \(needed) "
                        + "bytes, nro_size is \(size)"
                )
            }
            hasAllKicks = (0..<rings).allSatisfy {
                (bytes.value(Int32.self, at: RequestOption.headerLength + 8 * $0) ?? -1) >= 0
            }
            options.settle(NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, 0)
        }
        guard let bytes = options[NETMAP_REQ_OPT_SYNC_KLOOP_MODE],
            let option = bytes.value(nmreq_opt_sync_kloop_mode.self, at: 0)
        else { return }
        let known = UInt32(NM_OPT_SYNC_KLOOP_DIRECT_TX | NM_OPT_SYNC_KLOOP_DIRECT_RX)
        guard option.mode & ~known == 0, option.mode == 0 || hasAllKicks else {
            options.settle(NETMAP_REQ_OPT_SYNC_KLOOP_MODE, EINVAL)
            throw NetmapError(
                EINVAL,
                "loop mode \(option.mode): 1 and 2 are possible, with an ioeventfd for each ring"
            )
        }
        options.settle(NETMAP_REQ_OPT_SYNC_KLOOP_MODE, 0)
    }

    /// SYNC_KLOOP_STOP: without a loop it ends the next one as it begins.
    func stopLoop(_ descriptor: Descriptor) throws(NetmapError) {
        guard descriptor.binding != nil else { throw unbound("SYNC_KLOOP_STOP", errno: ENXIO) }
        switch descriptor.loop {
        case NM_LOOP_RUN: setLoop(descriptor, NM_LOOP_STOP)
        case NM_LOOP_NONE: setLoop(descriptor, NM_LOOP_STOP_NEXT)
        default: break
        }
    }

    /// The loop that SYNC_KLOOP_START let begin has ended, or its process has.
    package func loopEnded(_ number: DescriptorNumber) {
        guard let descriptor = descriptors[number],
            descriptor.loop == NM_LOOP_RUN || descriptor.loop == NM_LOOP_STOP
        else { return }
        setLoop(descriptor, NM_LOOP_NONE)
    }

    private func setLoop(_ descriptor: Descriptor, _ state: Int) {
        descriptor.loop = state
        guard let binding = descriptor.binding else { return }
        for ring in binding.selection.rings {
            binding.control.setLoop(state, binding.adapter.kring(ring))
        }
    }

    private func unbound(_ request: String, errno: Int32) -> NetmapError {
        NetmapError(errno, "\(request) on a descriptor that has no port open; REGISTER one first")
    }
}
