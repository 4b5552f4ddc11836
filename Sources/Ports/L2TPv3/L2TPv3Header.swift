// L2TPv3 (RFC 3931) as QEMU and Linux speak it in static tunnels: what stands before each frame. There is
// no control channel; both sides are told sessions and cookies.

import CNetmap
import Netmap

/// What stands before the frames of one session, in both directions.
///
/// Over UDP: `00 03 00 00`, session, cookie (none, 4 or 8 bytes), counter if there is one, padding. Over IP the first
/// four bytes are left out. All numbers are big-endian.
public struct L2TPv3Header: BitwiseCopyable, Sendable {
    /// Bytes of a cookie.
    public enum CookieSize: Int, BitwiseCopyable, Sendable {
        /// No cookie.
        case none = 0
        /// 32 bits.
        case short = 4
        /// 64 bits.
        case long = 8
    }

    private let isUDP: Bool
    private let hasIPHeader: Bool
    private let cookieSize: CookieSize
    private let hasCounter: Bool
    private let isCounterPinned: Bool
    private let txSession: UInt32
    private let rxSession: UInt32
    private let txCookie: UInt64
    private let rxCookie: UInt64
    /// Bytes before a frame that is sent.
    public let length: Int
    /// Counts frames that were sent.
    private var counter: UInt32 = 0

    /// Makes a session's header.
    ///
    /// - Parameters:
    ///   - isUDP: whether UDP carries it, not IP.
    ///   - isIPv6: what is below; a raw IPv4 socket gives the IP header, too.
    ///   - cookieSize: bytes of the cookies.
    ///   - hasCounter: whether there is a counter.
    ///   - isCounterPinned: whether it stays 0.
    ///   - sessions: what is written, and what is expected.
    ///   - cookies: the same.
    ///   - padding: bytes between header and frame.
    public init(
        isUDP: Bool,
        isIPv6: Bool,
        cookieSize: CookieSize,
        hasCounter: Bool,
        isCounterPinned: Bool,
        sessions: (tx: UInt32, rx: UInt32),
        cookies: (tx: UInt64, rx: UInt64),
        padding: Int
    ) {
        self.isUDP = isUDP
        hasIPHeader = !isUDP && !isIPv6
        self.cookieSize = cookieSize
        self.hasCounter = hasCounter
        self.isCounterPinned = isCounterPinned
        (txSession, rxSession) = sessions
        (txCookie, rxCookie) = cookies
        length = (isUDP ? 4 : 0) + 4 + cookieSize.rawValue + (hasCounter ? 4 : 0) + padding
    }

    /// Writes the header of the next frame to `memory`, which has `length` bytes that are zero or an earlier header.
    @_noLocks
    mutating func encode(to memory: UnsafeMutableRawPointer) {
        // SAFETY: every offset is below `length`.
        var at = unsafe memory
        if isUDP {
            unsafe nm_store32(at, UInt32(0x0003_0000).bigEndian)
            unsafe at += 4
        }
        unsafe nm_store32(at, txSession.bigEndian)
        unsafe at += 4
        if cookieSize == .long {
            unsafe nm_store64(at, txCookie.bigEndian)
        } else if cookieSize == .short {
            unsafe nm_store32(at, UInt32(truncatingIfNeeded: txCookie).bigEndian)
        }
        unsafe at += cookieSize.rawValue
        guard hasCounter else { return }
        if !isCounterPinned { counter = counter &+ 1 }
        unsafe nm_store32(at, counter.bigEndian)
    }

    /// What is before the frame in a datagram, or why there is none in it.
    enum Verdict {
        /// The frame begins behind so many bytes.
        case frame(Int)
        /// Dropped.
        case drop(DropReason)
    }

    /// Looks at a datagram of `size` bytes, all of which can be read.
    @_noLocks
    func decode(_ datagram: UnsafeRawPointer, _ size: Int) -> Verdict {
        // SAFETY: each read is within `size`, which is compared with `start + length` first.
        var start = 0
        if hasIPHeader {
            guard size >= 20 else { return .drop(.malformed) }
            start = Int(unsafe nm_load8(datagram) & 15) &* 4
            guard start >= 20 else { return .drop(.malformed) }
        }
        let end = start &+ length
        guard size >= end &+ 14 else { return .drop(.malformed) }
        var at = unsafe datagram + start
        if isUDP {
            // Control messages have the first bit, and other versions another number.
            guard unsafe UInt32(bigEndian: nm_load32(at)) == 0x0003_0000 else {
                return .drop(.malformed)
            }
            unsafe at += 4
        }
        var isOurs = unsafe UInt32(bigEndian: nm_load32(at)) == rxSession
        unsafe at += 4
        if cookieSize == .long {
            isOurs = unsafe isOurs && UInt64(bigEndian: nm_load64(at)) == rxCookie
        } else if cookieSize == .short {
            isOurs =
                unsafe isOurs
                && UInt32(bigEndian: nm_load32(at)) == UInt32(truncatingIfNeeded: rxCookie)
        }
        return isOurs ? .frame(end) : .drop(.wrongSession)
    }
}
