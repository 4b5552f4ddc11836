// The rings between the kernel and an AF_XDP socket. Each has one writer and one reader, who publish how far
// they are in a word each; indices run free.

import CNetmap

/// Where the words of one ring are.
@safe struct XDPRingMemory: BitwiseCopyable {
    // SAFETY (whole file): the addresses lie in the mapping that the maker of the ring keeps, and entries are
    // addressed behind the mask.
    let producer: UnsafeMutableRawPointer
    let consumer: UnsafeMutableRawPointer
    let flags: UnsafeMutableRawPointer
    let entries: UnsafeMutableRawPointer
    /// How many entries there are; a power of two.
    let size: UInt32

    /// Finds the words of a ring.
    init(unsafeBase base: UnsafeMutableRawPointer, _ offsets: nm_xdp_offsets, size: UInt32) {
        unsafe producer = unsafe base + Int(offsets.producer)
        unsafe consumer = unsafe base + Int(offsets.consumer)
        unsafe flags = unsafe base + Int(offsets.flags)
        unsafe entries = unsafe base + Int(offsets.descriptors)
        self.size = size
    }

    /// Whether the kernel does nothing until a system call tells it to look.
    var needsWakeup: Bool {
        @_noLocks get { unsafe nm_load32(flags) & UInt32(NM_XDP_NEED_WAKEUP) != 0 }
    }

    @_noLocks
    func entry(_ index: UInt32, stride: Int) -> UnsafeMutableRawPointer {
        unsafe entries + Int(index & (size &- 1)) &* stride
    }
}

/// A ring that we fill: chunks to receive into, frames to send.
struct XDPProducer: BitwiseCopyable {
    let memory: XDPRingMemory
    /// The next entry to write.
    private(set) var index: UInt32
    /// The end of what the kernel may read.
    private(set) var published: UInt32
    /// How far the kernel was when we looked last.
    private(set) var consumed: UInt32

    init(_ memory: XDPRingMemory) {
        self.memory = memory
        index = unsafe nm_load32(memory.producer)
        published = index
        consumed = unsafe nm_load32(memory.consumer)
    }

    /// How many entries are free for certain.
    var room: UInt32 { @_noLocks get { memory.size &- (index &- consumed) } }

    /// Looks how far the kernel is.
    @_noLocks
    mutating func refresh() { consumed = unsafe nm_load32_acquire(memory.consumer) }

    /// Writes an address; there is room.
    @_noLocks
    mutating func push(_ address: UInt64) {
        unsafe nm_store64(memory.entry(index, stride: 8), address)
        index = index &+ 1
    }

    /// Writes a descriptor; there is room.
    @_noLocks
    mutating func push(_ address: UInt64, length: UInt32, options: UInt32) {
        let entry = unsafe memory.entry(index, stride: Int(NM_XDP_DESCRIPTOR))
        unsafe nm_store64(entry, address)
        unsafe nm_store64(entry + 8, UInt64(length) | UInt64(options) &<< 32)
        index = index &+ 1
    }

    /// Lets the kernel see what was written.
    @_noLocks
    mutating func publish() {
        unsafe nm_store32_release(memory.producer, index)
        published = index
    }
}

/// A ring that the kernel fills: frames received, chunks that are sent.
struct XDPConsumer: BitwiseCopyable {
    let memory: XDPRingMemory
    /// The first entry that the kernel has not got back.
    private(set) var index: UInt32
    /// How far the kernel was when we looked last.
    private(set) var produced: UInt32

    init(_ memory: XDPRingMemory) {
        self.memory = memory
        index = unsafe nm_load32(memory.consumer)
        produced = unsafe nm_load32(memory.producer)
    }

    /// Looks how far the kernel is.
    @_noLocks
    mutating func refresh() { produced = unsafe nm_load32_acquire(memory.producer) }

    /// The address in an entry.
    @_noLocks
    func address(_ index: UInt32) -> UInt64 { unsafe nm_load64(memory.entry(index, stride: 8)) }

    /// The descriptor in an entry.
    @_noLocks
    func descriptor(_ index: UInt32) -> (address: UInt64, length: UInt32, isContinued: Bool) {
        let entry = unsafe memory.entry(index, stride: Int(NM_XDP_DESCRIPTOR))
        let word = unsafe nm_load64(entry + 8)
        let options = UInt32(truncatingIfNeeded: word &>> 32)
        return (
            unsafe nm_load64(entry), UInt32(truncatingIfNeeded: word),
            options & UInt32(NM_XDP_CONTINUED) != 0
        )
    }

    /// Gives all entries before `index` back.
    @_noLocks
    mutating func release(to index: UInt32) {
        self.index = index
        unsafe nm_store32_release(memory.consumer, index)
    }
}
