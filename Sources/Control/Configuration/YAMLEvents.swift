// libyaml's events as Swift values. The events, and not Yams' own tree: that one loses the places of names
// and aliases, and hashes keys however large aliases make them, so that a short file can keep it busy for ever.

internal import CYaml

/// A piece of a YAML text.
struct YAMLEvent {
    enum Kind {
        case streamStart, streamEnd, documentStart, documentEnd
        case alias(String)
        case scalar(String, isPlain: Bool)
        case sequenceStart, sequenceEnd
        case mappingStart, mappingEnd
    }

    let kind: Kind
    /// The name that later aliases have for it.
    let anchor: String?
    /// The explicit tag, if there is one.
    let tag: String?
    /// Where it begins, from one.
    let line: Int
    let column: Int
}

/// Why a text is no YAML.
struct YAMLSyntaxError: Error {
    let line: Int
    let column: Int
    let message: String
}

/// Cuts a text into events.
///
/// SAFETY: the parser and the text that it reads live in memory of this value from `init` to `deinit`; each
/// event is copied and deleted before the next is asked for.
@safe struct YAMLEvents: ~Copyable {
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let text: UnsafeMutableBufferPointer<UInt8>

    init(_ bytes: [UInt8]) {
        unsafe parser = .allocate(capacity: 1)
        unsafe parser.initialize(to: yaml_parser_t())
        unsafe text = .allocate(capacity: max(1, bytes.count))
        _ = unsafe text.initialize(from: bytes)
        _ = unsafe yaml_parser_initialize(parser)
        unsafe yaml_parser_set_input_string(parser, text.baseAddress, bytes.count)
    }

    deinit {
        unsafe yaml_parser_delete(parser)
        unsafe parser.deallocate()
        unsafe text.deallocate()
    }

    /// The next event.
    mutating func next() throws(YAMLSyntaxError) -> YAMLEvent {
        var event = unsafe yaml_event_t()
        guard unsafe yaml_parser_parse(parser, &event) == 1 else { throw problem }
        defer { unsafe yaml_event_delete(&event) }
        var anchor: String?
        var tag: String?
        var kind = YAMLEvent.Kind.streamEnd
        switch unsafe event.type {
        case YAML_STREAM_START_EVENT: kind = .streamStart
        case YAML_DOCUMENT_START_EVENT: kind = .documentStart
        case YAML_DOCUMENT_END_EVENT: kind = .documentEnd
        case YAML_ALIAS_EVENT: kind = unsafe .alias(Self.string(event.data.alias.anchor) ?? "")
        case YAML_SCALAR_EVENT:
            let scalar = unsafe event.data.scalar
            (anchor, tag) = unsafe (Self.string(scalar.anchor), Self.string(scalar.tag))
            let bytes = unsafe UnsafeBufferPointer(start: scalar.value, count: scalar.length)
            kind = unsafe .scalar(
                String(decoding: bytes, as: UTF8.self),
                isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE
            )
        case YAML_SEQUENCE_START_EVENT:
            kind = .sequenceStart
            anchor = unsafe Self.string(event.data.sequence_start.anchor)
            tag = unsafe Self.string(event.data.sequence_start.tag)
        case YAML_SEQUENCE_END_EVENT: kind = .sequenceEnd
        case YAML_MAPPING_START_EVENT:
            kind = .mappingStart
            anchor = unsafe Self.string(event.data.mapping_start.anchor)
            tag = unsafe Self.string(event.data.mapping_start.tag)
        case YAML_MAPPING_END_EVENT: kind = .mappingEnd
        default: break
        }
        let mark = unsafe event.start_mark
        return YAMLEvent(
            kind: kind,
            anchor: anchor,
            tag: tag,
            line: Int(clamping: mark.line) + 1,
            column: Int(clamping: mark.column) + 1
        )
    }

    private static func string(_ text: UnsafeMutablePointer<yaml_char_t>?) -> String? {
        guard let text = unsafe text else { return nil }
        return unsafe String(cString: text)
    }

    private var problem: YAMLSyntaxError {
        let state = unsafe parser.pointee
        var words = unsafe state.problem.map { unsafe String(cString: $0) } ?? "it is not YAML"
        if words.hasPrefix("Maximum nesting level") { words = "far too many levels" }
        // Bytes that are no text have an offset instead of a place.
        if unsafe state.error == YAML_READER_ERROR {
            let before = unsafe Array(text.prefix(state.problem_offset))
            let lines = before.split(separator: 10, omittingEmptySubsequences: false)
            let column = lines.last.map { String(decoding: $0, as: UTF8.self).count } ?? 0
            return YAMLSyntaxError(line: lines.count, column: column + 1, message: words)
        }
        let mark = unsafe state.problem_mark
        let context = unsafe state.context.map { unsafe String(cString: $0) + ": " } ?? ""
        return YAMLSyntaxError(
            line: Int(clamping: mark.line) + 1,
            column: Int(clamping: mark.column) + 1,
            message: context + words
        )
    }
}
