// The options that nmreplay and tlem have in common: what the link between two ports is like.

internal import ArgumentParser
internal import Traffic

/// -B, -D and -L, once for both directions, or once for each.
struct LinkOptions: ParsableArguments {
    @Option(
        name: .customShort("B"),
        help: "Bandwidth: '100M', 'ether,10G' with framing, nmreplay: 'real', 'real,2'."
    )
    var bandwidths: [String] = []
    @Option(
        name: .customShort("D"),
        help: "Delay: '10ms', 'uniform,1ms,5ms', 'exp,1ms,5ms' (least, average)."
    )
    var delays: [String] = []
    @Option(name: .customShort("L"), help: "Loss: '0.01', 'ber,1e-6' of bits.")
    var losses: [String] = []
    @Option(name: .customLong("seed"), help: "What is random is the same with the same seed.")
    var seed: UInt64?

    /// The link of a direction.
    func settings(of direction: Int, most: Int) throws -> LinkSettings {
        var settings = LinkSettings()
        do throws(LinkSettingError) {
            if let text = try pick("-B", bandwidths, direction, most) {
                settings.bandwidth = try LinkSettings.Bandwidth(text)
            }
            if let text = try pick("-D", delays, direction, most) {
                settings.delay = try LinkSettings.Delay(text)
            }
            if let text = try pick("-L", losses, direction, most) {
                settings.loss = try LinkSettings.Loss(text)
            }
        } catch {
            throw ValidationError(error.description)
        }
        return settings
    }

    /// What was said of a direction: the one value that there is, or the one of two.
    func pick(
        _ option: String,
        _ values: [String],
        _ direction: Int,
        _ most: Int
    ) throws(LinkSettingError) -> String? {
        guard values.count <= most else {
            throw LinkSettingError(option, count: values.count, most: most)
        }
        return values.isEmpty ? nil : values[min(direction, values.count - 1)]
    }

    /// A seed for each direction.
    func seed(of direction: Int) -> UInt64 {
        (seed ?? UInt64.random(in: 0 ... .max)) &+ UInt64(direction)
    }
}
