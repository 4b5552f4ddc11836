// Which objects of a pool are in use: kept where no program can write.

/// Numbers that are handed out lowest first.
struct ObjectPool {
    /// How many numbers there are.
    let count: Int
    /// How many of them can be handed out.
    private(set) var available: Int
    private var free: [UInt64]
    private var hint = 0

    /// Makes a pool of 0 ..< count, of which the first `reserved` are never handed out.
    init(count: Int, reserved: Int = 0) {
        self.count = count
        available = max(0, count - reserved)
        free = Array(repeating: ~0, count: (count + 63) / 64)
        for number in 0..<min(reserved, count) { free[number / 64] &= ~(1 << (number % 64)) }
        for number in count..<free.count * 64 { free[number / 64] &= ~(1 << (number % 64)) }
        self.reserved = reserved
    }

    private let reserved: Int

    /// Takes the lowest free number.
    mutating func allocate() -> Int? {
        while hint < free.count, free[hint] == 0 { hint += 1 }
        guard hint < free.count else { return nil }
        let bit = free[hint].trailingZeroBitCount
        free[hint] &= ~(1 << bit)
        available -= 1
        return hint * 64 + bit
    }

    /// Whether the number was handed out.
    func isInUse(_ number: Int) -> Bool {
        (reserved..<max(reserved, count)).contains(number)
            && free[number / 64] & (1 << (number % 64)) == 0
    }

    /// Takes a number back; says whether it was one that had been handed out.
    @discardableResult
    mutating func release(_ number: Int) -> Bool {
        guard isInUse(number) else { return false }
        free[number / 64] |= 1 << (number % 64)
        hint = min(hint, number / 64)
        available += 1
        return true
    }
}
