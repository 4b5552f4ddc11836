// Structures of the ABI in byte arrays. A program's bytes are plain numbers, so any pattern is a value.

extension [UInt8] {
    /// The structure at `offset`, if it is all there.
    func value<Value: BitwiseCopyable>(_: Value.Type, at offset: Int) -> Value? {
        guard offset >= 0, offset <= count - MemoryLayout<Value>.size else { return nil }
        // SAFETY: inside of the array, and C structures of integers have no invalid patterns.
        return unsafe withUnsafeBytes {
            unsafe $0.loadUnaligned(fromByteOffset: offset, as: Value.self)
        }
    }

    /// Puts a structure at `offset`, if it fits.
    mutating func put<Value: BitwiseCopyable>(_ value: Value, at offset: Int) {
        guard offset >= 0, offset <= count - MemoryLayout<Value>.size else { return }
        // SAFETY: inside of the array; the ABI's structures name their padding.
        unsafe withUnsafeMutableBytes {
            unsafe $0.storeBytes(of: value, toByteOffset: offset, as: Value.self)
        }
    }
}
