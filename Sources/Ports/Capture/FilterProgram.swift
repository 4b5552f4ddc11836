// Filters as tcpdump has them, run by workers: a classic BPF program, which libpcap compiled. It is
// checked once, so that running it needs no trust in it; each load from a frame is held against the
// frame's length.

public import CNetmap

/// A filter program that was checked.
///
/// A handle: `make` allocates what it names, `free` frees it. One thread runs it at a time.
@safe public struct FilterProgram: BitwiseCopyable {
    private let code: UnsafeMutablePointer<sock_filter>
    private let count: Int
    /// The sixteen words that a program may store to.
    private let words: UnsafeMutablePointer<UInt32>

    private static var wordCount: Int { @_noLocks get { 16 } }
    /// As many instructions as libpcap makes at most.
    public static let maximumCount = 4096

    // SAFETY (whole type): `make` has checked that every jump goes forward to an instruction, that the last
    // one returns, and that a program's own words are below sixteen; `free` comes when nobody runs it.

    /// Checks a program and keeps a copy.
    ///
    /// - Returns: nil if it is none: an unknown instruction, a jump out of it, a way without a return.
    public static func make(_ program: [sock_filter]) -> FilterProgram? {
        guard isGood(program) else { return nil }
        let code = UnsafeMutablePointer<sock_filter>.allocate(capacity: program.count)
        for (index, instruction) in program.enumerated() {
            unsafe (code + index).initialize(to: instruction)
        }
        let words = UnsafeMutablePointer<UInt32>.allocate(capacity: wordCount)
        unsafe words.initialize(repeating: 0, count: wordCount)
        return unsafe FilterProgram(code: code, count: program.count, words: words)
    }

    private init(
        code: UnsafeMutablePointer<sock_filter>,
        count: Int,
        words: UnsafeMutablePointer<UInt32>
    ) {
        unsafe self.code = unsafe code
        self.count = count
        unsafe self.words = unsafe words
    }

    /// Frees the copy.
    public func free() {
        unsafe code.deallocate()
        unsafe words.deallocate()
    }

    private static func isGood(_ program: [sock_filter]) -> Bool {
        guard let last = program.last, program.count <= maximumCount, last.code & 7 == 6 else {
            return false
        }
        return program.indices.allSatisfy { index in
            let one = program[index]
            let left = program.count - 1 - index
            switch one.code & 7 {
            case 0, 1:  // LD, LDX
                guard isLoad(one.code) else { return false }
                return one.code & 0xe0 != 0x60 || one.k < wordCount
            case 2, 3: return one.code & 0xf8 == 0 && one.k < wordCount  // ST, STX
            case 4:  // ALU
                let operation = one.code & 0xf0
                guard one.code & 0xff00 == 0, operation <= 0xa0 else { return false }
                // Division by nothing, and shifts by more than there is.
                let isConstant = one.code & 8 == 0 && operation != 0x80
                if isConstant, operation == 0x30 || operation == 0x90 { return one.k != 0 }
                if isConstant, operation == 0x60 || operation == 0x70 { return one.k < 32 }
                return true
            case 5:  // JMP
                if one.code == 0x05 { return Int(one.k) < left }
                guard one.code & 0xff00 == 0, (0x10...0x40).contains(one.code & 0xf0) else {
                    return false
                }
                return Int(one.jt) < left && Int(one.jf) < left
            case 6: return one.code & ~0x18 == 6 && one.code & 0x18 != 0x18  // RET
            default: return one.code == 0x07 || one.code == 0x87  // TAX, TXA
            }
        }
    }

    private static func isLoad(_ code: UInt16) -> Bool {
        switch code {
        case 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x00, 0x60: true
        case 0x01, 0x61, 0x81, 0xb1: true
        default: false
        }
    }

    /// How many bytes of a frame the program wants; 0 if it rejects the frame.
    ///
    /// - Parameters:
    ///   - frame: its bytes, in one piece.
    ///   - length: how many there are.
    ///   - wireLength: how many the frame says that it has.
    /// - Returns: what the program returns.
    @_noLocks
    public func run(_ frame: UnsafeRawPointer, length: Int, wireLength: Int) -> UInt32 {
        var a: UInt32 = 0
        var x: UInt32 = 0
        for word in 0..<FilterProgram.wordCount { unsafe words[word] = 0 }
        var at = 0
        while at < count {
            let one = unsafe code[at]
            at = at &+ 1
            switch one.code {
            // Loads; the index is added in 64 bits, where it cannot wrap.
            case 0x20, 0x28, 0x30, 0x40, 0x48, 0x50:
                let offset = Int(one.k) &+ (one.code & 0xe0 == 0x40 ? Int(x) : 0)
                let size = one.code & 0x18 == 0 ? 4 : one.code & 0x18 == 8 ? 2 : 1
                guard offset &+ size <= length else { return 0 }
                a = 0
                for k in 0..<size { a = a &<< 8 | UInt32(unsafe nm_load8(frame + (offset &+ k))) }
            case 0xb1:
                guard Int(one.k) < length else { return 0 }
                x = UInt32(unsafe nm_load8(frame + Int(one.k)) & 15) &<< 2
            case 0x00: a = one.k
            case 0x01: x = one.k
            case 0x80: a = UInt32(truncatingIfNeeded: wireLength)
            case 0x81: x = UInt32(truncatingIfNeeded: wireLength)
            case 0x60: a = unsafe words[Int(one.k)]
            case 0x61: x = unsafe words[Int(one.k)]
            case 0x02: unsafe words[Int(one.k)] = a
            case 0x03: unsafe words[Int(one.k)] = x
            case 0x06: return one.k
            case 0x0e: return x
            case 0x16: return a
            case 0x07: x = a
            case 0x87: a = x
            case 0x05: at = at &+ Int(one.k)
            default:
                let operand = one.code & 8 == 0 ? one.k : x
                if one.code & 7 == 5 {
                    let isTrue = FilterProgram.holds(one.code & 0xf0, a, operand)
                    at = at &+ Int(isTrue ? one.jt : one.jf)
                } else {
                    let operation = one.code & 0xf0
                    if operand == 0, operation == 0x30 || operation == 0x90 { return 0 }
                    a = FilterProgram.combined(operation, a, operand)
                }
            }
        }
        return 0
    }

    @_noLocks
    private static func holds(_ comparison: UInt16, _ a: UInt32, _ operand: UInt32) -> Bool {
        switch comparison {
        case 0x10: a == operand
        case 0x20: a > operand
        case 0x30: a >= operand
        default: a & operand != 0
        }
    }

    @_noLocks
    private static func combined(_ operation: UInt16, _ a: UInt32, _ operand: UInt32) -> UInt32 {
        switch operation {
        case 0x00: a &+ operand
        case 0x10: a &- operand
        case 0x20: a &* operand
        case 0x30: a / operand
        case 0x40: a | operand
        case 0x50: a & operand
        case 0x60: operand < 32 ? a &<< operand : 0
        case 0x70: operand < 32 ? a &>> operand : 0
        case 0x80: 0 &- a
        case 0x90: a % operand
        default: a ^ operand
        }
    }
}
