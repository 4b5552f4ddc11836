// From events to the tree. What a hostile or mistaken file could make large has a limit here: the text, the
// depth, and the values, of which each use of an alias counts in full.

/// Makes the tree of a YAML text.
struct YAMLReader: ~Copyable {
    /// The longest text that is read.
    static let maximumSize = 1 << 20
    private static let maximumDepth = 32
    private static let maximumNodes = 100_000
    private static let plainTags: Set = ["null", "bool", "int", "float", "seq", "map"]

    private let file: String
    private var events: YAMLEvents
    private var anchors: [String: (node: YAMLNode, size: Int)] = [:]
    private var count = 0
    private var depth = 0

    /// Reads a text.
    ///
    /// - Parameters:
    ///   - text: the bytes of the file.
    ///   - file: what the file is called in messages.
    /// - Returns: the document, or nil if there is none.
    /// - Throws: the first thing that is wrong.
    static func read(_ text: [UInt8], file: String) throws(ConfigurationError) -> YAMLNode? {
        guard text.count <= maximumSize else {
            throw ConfigurationError(
                file: file,
                "it has \(text.count) bytes; at most \(maximumSize) are read"
            )
        }
        var reader = YAMLReader(file: file, events: YAMLEvents(text))
        return try reader.document()
    }

    private init(file: String, events: consuming YAMLEvents) {
        self.file = file
        self.events = events
    }

    private mutating func document() throws(ConfigurationError) -> YAMLNode? {
        _ = try next()
        guard case .documentStart = try next().kind else { return nil }
        let root = try node(at: try next())
        _ = try next()
        let event = try next()
        guard case .streamEnd = event.kind else {
            throw error(event, "a second document begins here; give it a file of its own")
        }
        return root
    }

    private mutating func next() throws(ConfigurationError) -> YAMLEvent {
        do throws(YAMLSyntaxError) {
            return try events.next()
        } catch {
            throw ConfigurationError(
                SourcePosition(file: file, line: error.line, column: error.column),
                error.message
            )
        }
    }

    private func position(_ event: YAMLEvent) -> SourcePosition {
        SourcePosition(file: file, line: event.line, column: event.column)
    }

    private func error(_ event: YAMLEvent, _ message: String) -> ConfigurationError {
        ConfigurationError(position(event), message)
    }

    private mutating func node(at event: YAMLEvent) throws(ConfigurationError) -> YAMLNode {
        let before = count
        try add(1, event)
        let isString = event.tag == "tag:yaml.org,2002:str" || event.tag == "!"
        if let tag = event.tag, !isString,
            !Self.plainTags.contains(String(tag.dropPrefix("tag:yaml.org,2002:") ?? ""))
        {
            throw error(event, "the tag '\(tag)' means nothing here; leave it out")
        }
        let content: YAMLNode.Content
        switch event.kind {
        case .alias(let name):
            guard let known = anchors[name] else {
                throw error(
                    event,
                    "there is no complete value before this that is named '&\(name)'"
                )
            }
            try add(known.size - 1, event)
            // A mistake in it is one of the place that uses it, too; the original can be mended.
            return known.node
        case .scalar(let text, let isPlain):
            content = .scalar(text, isPlain: isPlain && !isString)
        case .sequenceStart:
            try enter(event)
            var elements: [YAMLNode] = []
            while true {
                let event = try next()
                if case .sequenceEnd = event.kind { break }
                elements.append(try node(at: event))
            }
            depth -= 1
            content = .sequence(elements)
        case .mappingStart:
            try enter(event)
            content = .mapping(try entries())
            depth -= 1
        default: throw error(event, "a value is missing here")
        }
        let node = YAMLNode(content: content, position: position(event))
        if let anchor = event.anchor { anchors[anchor] = (node, count - before) }
        return node
    }

    private mutating func add(_ more: Int, _ event: YAMLEvent) throws(ConfigurationError) {
        count += more
        guard count <= Self.maximumNodes else {
            throw error(
                event,
                "more than \(Self.maximumNodes) values, counting those that aliases repeat"
            )
        }
    }

    private mutating func enter(_ event: YAMLEvent) throws(ConfigurationError) {
        depth += 1
        guard depth <= Self.maximumDepth else {
            throw error(event, "more than \(Self.maximumDepth) levels, one in the other")
        }
    }

    private mutating func entries() throws(ConfigurationError) -> [YAMLNode.Entry] {
        var entries: [YAMLNode.Entry] = []
        var places: [String: SourcePosition] = [:]
        var merged: [YAMLNode.Entry] = []
        while true {
            let event = try next()
            if case .mappingEnd = event.kind { break }
            guard case .scalar(let key, let isPlain) = event.kind else {
                throw error(event, "a name is expected here")
            }
            try add(1, event)
            let value = try node(at: try next())
            if key == "<<", isPlain {
                merged += try mergeable(value)
                continue
            }
            if let first = places.updateValue(position(event), forKey: key) {
                throw error(
                    event,
                    "'\(key)' is here a second time; the first is in line \(first.line)"
                )
            }
            entries.append(YAMLNode.Entry(key: key, position: position(event), value: value))
        }
        for entry in merged where places.updateValue(entry.position, forKey: entry.key) == nil {
            entries.append(entry)
        }
        return entries
    }

    /// What `<<` brings in: the entries of a mapping, or of several, of which the first counts.
    private func mergeable(_ value: YAMLNode) throws(ConfigurationError) -> [YAMLNode.Entry] {
        let sources: [YAMLNode] =
            if case .sequence(let list) = value.content { list } else { [value] }
        var entries: [YAMLNode.Entry] = []
        for source in sources {
            guard case .mapping(let more) = source.content else {
                throw ConfigurationError(
                    source.position,
                    "'<<' takes a mapping, such as an alias of one, not \(source.kind)"
                )
            }
            entries += more
        }
        return entries
    }
}
