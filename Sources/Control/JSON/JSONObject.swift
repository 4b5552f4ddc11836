// An object that remembers the order of its members: operators read these messages, and
// "id, ifname, state" is easier on the eye than the order of a hash table.

/// The members of a JSON object, in the order in which they were added.
///
/// Order does not take part in equality.
public struct JSONObject: Sendable {
    /// The names of the members, oldest first.
    public private(set) var keys: [String] = []
    private var values: [String: JSONValue] = [:]

    /// Makes an empty object.
    public init() {}

    /// Makes an object of the given members; of two with one name the later value counts.
    public init(_ members: some Sequence<(String, JSONValue)>) {
        for (key, value) in members { self[key] = value }
    }

    /// How many members there are.
    public var count: Int { keys.count }

    /// Whether there are none.
    public var isEmpty: Bool { keys.isEmpty }

    /// The value of the member called `key`; assigning nil removes the member.
    public subscript(key: String) -> JSONValue? {
        get { values[key] }
        set {
            let old = values.updateOrRemove(newValue, forKey: key)
            if old == nil, newValue != nil { keys.append(key) }
            if old != nil, newValue == nil { keys.removeAll { $0 == key } }
        }
    }
}

extension JSONObject {
    /// The members with one of these names.
    func keeping(_ names: Set<String>) -> JSONObject {
        JSONObject(filter { names.contains($0.key) }.map { ($0.key, $0.value) })
    }
}

extension JSONObject: Hashable {
    /// Whether both have the same members, in whatever order.
    public static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.values == right.values
    }

    /// Feeds the members to `hasher`.
    public func hash(into hasher: inout Hasher) { hasher.combine(values) }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    /// Makes an object whose members keep the order of the literal.
    public init(dictionaryLiteral elements: (String, JSONValue)...) { self.init(elements) }
}

extension JSONObject: Sequence {
    /// Walks over the members in order.
    public func makeIterator() -> AnyIterator<(key: String, value: JSONValue)> {
        var rest = keys.makeIterator()
        return AnyIterator {
            guard let key = rest.next(), let value = values[key] else { return nil }
            return (key, value)
        }
    }
}

extension Dictionary {
    fileprivate mutating func updateOrRemove(_ value: Value?, forKey key: Key) -> Value? {
        guard let value else { return removeValue(forKey: key) }
        return updateValue(value, forKey: key)
    }
}
