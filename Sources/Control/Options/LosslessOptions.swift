// What a port asks for that would rather have its senders wait than lose their frames.

/// How a lossless port makes its senders wait.
public struct LosslessOptions: Sendable, Hashable {
    /// How long senders wait for a receiver that takes nothing, if nobody says: one second.
    public static let defaultTimeout = 1000
    /// The longest time that can be asked for: a day.
    public static let maximumTimeout = 86_400_000

    /// Milliseconds until a receiver that takes nothing loses frames again; 0 for never.
    public let timeout: Int

    /// Makes options that are known to be good.
    public init(timeout: Int = LosslessOptions.defaultTimeout) { self.timeout = timeout }

    /// Takes them from the arguments of `netdev_add` or `port-set`; nil if the port is not lossless.
    public init?(_ arguments: JSONObject) throws(QMPError) {
        let timeout = arguments["lossless-timeout"]?.integerValue
        guard arguments["lossless"]?.boolValue ?? false else {
            guard timeout == nil else {
                throw QMPError(
                    "Parameter 'lossless-timeout' says nothing without 'lossless'; add lossless=on"
                )
            }
            return nil
        }
        guard (0...Self.maximumTimeout).contains(timeout ?? 0) else {
            throw .expects(
                "lossless-timeout",
                "milliseconds from 0 (never) to \(Self.maximumTimeout), not \(timeout ?? 0)"
            )
        }
        self.timeout = timeout ?? Self.defaultTimeout
    }

    func add(to object: inout JSONObject) {
        object["lossless"] = true
        if timeout != Self.defaultTimeout { object["lossless-timeout"] = .integer(timeout) }
    }
}
