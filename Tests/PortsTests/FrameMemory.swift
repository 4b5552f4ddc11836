// Frames of a test, in one piece or in several, as sources hand them out.

import CNetmap
import Glibc
import Netmap

@testable import Ports

/// A batch of frames with their memory.
@safe final class FrameMemory {
    private let memory: UnsafeMutableRawPointer
    private var used = 0
    private static let size = 1 << 23
    let list: UnsafeMutablePointer<UInt16>

    init() {
        unsafe memory = .allocate(byteCount: FrameMemory.size, alignment: 64)
        unsafe list = .allocate(capacity: FrameBatch.frameCapacity)
        for k in 0..<FrameBatch.frameCapacity { unsafe (list + k).initialize(to: UInt16(k)) }
    }

    deinit {
        unsafe memory.deallocate()
        unsafe list.deallocate()
    }

    /// Puts frames into an empty batch, each in `pieces` pieces; memory of earlier ones is used again.
    func fill(_ batch: inout FrameBatch, _ frames: [[UInt8]], pieces: Int = 1) {
        used = 0
        batch.removeAll()
        for frame in frames {
            let base = unsafe memory + used
            for (k, byte) in frame.enumerated() { unsafe nm_store8(base + k, byte) }
            used += frame.count
            let size = frame.count / pieces
            let first = batch.extraSegments
            for piece in 1..<max(2, pieces) where piece < pieces {
                let length = piece == pieces - 1 ? frame.count - piece * size : size
                unsafe batch.segments[batch.extraSegments] = unsafe Segment(
                    address: base + piece * size,
                    length: length
                )
                batch.extraSegments += 1
            }
            unsafe batch.frames[batch.count] = unsafe Frame(
                address: base,
                headLength: UInt32(pieces == 1 ? frame.count : size),
                length: UInt32(frame.count),
                firstExtra: UInt32(first),
                extraCount: UInt16(batch.extraSegments - first)
            )
            batch.count += 1
        }
    }
}

/// Two connected sockets, the second of which does not wait.
final class SocketPair {
    let mine: OwnedDescriptor
    let other: OwnedDescriptor

    init(_ type: Int32 = Int32(SOCK_STREAM.rawValue), buffer: Int32? = nil) {
        var numbers: [Int32] = [-1, -1]
        _ = unsafe socketpair(AF_UNIX, type, 0, &numbers)
        mine = OwnedDescriptor(numbers[0])
        other = OwnedDescriptor(numbers[1])
        if var buffer {
            _ = unsafe setsockopt(
                numbers[0],
                SOL_SOCKET,
                SO_SNDBUF,
                &buffer,
                socklen_t(MemoryLayout<Int32>.size)
            )
        }
        _ = nm_set_nonblocking(numbers[1])
    }

    /// Everything that can be read now, at most `limit` bytes.
    func read(_ limit: Int = .max) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while bytes.count < limit {
            let n = unsafe Glibc.read(other.number, &buffer, min(buffer.count, limit - bytes.count))
            guard n > 0 else { break }
            bytes += buffer.prefix(n)
        }
        return bytes
    }

    func write(_ bytes: [UInt8]) { _ = unsafe send(other.number, bytes, bytes.count, 0) }
}
